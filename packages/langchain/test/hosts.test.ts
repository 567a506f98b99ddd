import { BaseRule, MonthlyBudgetRule, PolicyViolationError, RuleDecision, type Labels } from "@driftlock/core";
import { RunnableLambda } from "@langchain/core/runnables";
import { tool } from "@langchain/core/tools";
import { END, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { createReactAgent } from "@langchain/langgraph/prebuilt";
import type { ChatOpenAI } from "@langchain/openai";
import { createAgent, createMiddleware } from "langchain";
import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { billedUsd, chatOn, failure, hasModelEvents, setUp, spend } from "./harness.js";

/** Refuses with one and the same error, so that a test can see whether it is this very instance that arrives. */
class RefuseAll extends BaseRule {
  readonly error = new PolicyViolationError({
    ruleName: "RefuseAll",
    decision: RuleDecision.block({ reason: "closed" }),
  });
  isOpen = false;
  evaluations = 0;
  constructor() {
    super({}, "RefuseAll");
  }
  evaluate() {
    this.evaluations++;
    return this.isOpen ? RuleDecision.allow() : RuleDecision.block({ reason: "closed" });
  }
  violation() {
    return this.error;
  }
}

const say = { messages: [{ role: "user", content: "Hi" }] };
const clock = tool(() => "noon", { name: "clock", description: "tells the time", schema: z.object({}) });
const entries = ["handler", "govern"] as const;

/** The model with the entry point on it. Both are chat models to a host. */
async function given(entry: (typeof entries)[number], rules: readonly BaseRule[], options = {}) {
  const set = await setUp({ rules, ...options });
  const model = (fields = {}) =>
    entry === "govern" ? (set.governed(fields) as unknown as ChatOpenAI) : set.chat(fields);
  return { ...set, model };
}

/** A graph of nodes that all start at once, each calling the model. */
function graphOf(model: ChatOpenAI, nodes: readonly string[]) {
  const graph = new StateGraph(MessagesAnnotation) as unknown as {
    addNode(name: string, run: (state: { messages: [] }) => Promise<object>): void;
    addEdge(from: string, to: string): void;
    compile(options?: object): { invoke(input: unknown, config?: object): Promise<{ messages: { text: string }[] }> };
  };
  for (const name of nodes) {
    graph.addNode(name, async ({ messages }) => ({ messages: [await model.invoke(messages)] }));
    graph.addEdge(START, name);
    graph.addEdge(name, END);
  }
  return graph;
}

describe.each(entries)("a refusal through %s reaches the caller of", (entry) => {
  it.each<[string, (model: ChatOpenAI) => Promise<unknown>]>([
    ["createAgent", (model) => createAgent({ model, tools: [clock] }).invoke(say)],
    ["createReactAgent", (model) => createReactAgent({ llm: model, tools: [clock] }).invoke(say)],
    ["a graph", (model) => graphOf(model, ["one"]).compile().invoke(say)],
    [
      "a graph in a graph",
      (model) => RunnableLambda.from(() => graphOf(model, ["one"]).compile().invoke(say)).invoke(""),
    ],
  ])("%s as the rule's very error, evaluated once, and nothing is sent", async (_, call) => {
    const rule = new RefuseAll();
    const { model, server } = await given(entry, [rule]);
    expect(await failure(call(model({ maxRetries: 6 })))).toBe(rule.error);
    expect(rule.evaluations).toBe(1);
    expect(server.requests).toEqual([]);
  });

  it("an agent with a wrapModelCall middleware, which wraps it", async () => {
    const rule = new RefuseAll();
    const { model, server } = await given(entry, [rule]);
    const wrapping = createMiddleware({ name: "Wrapping", wrapModelCall: (request, handler) => handler(request) });
    const error = await failure(createAgent({ model: model(), tools: [], middleware: [wrapping] }).invoke(say));
    expect(PolicyViolationError.find(error)).toBe(rule.error);
    expect(server.requests).toEqual([]);
  });

  it("parallel nodes, whatever they are gathered in", async () => {
    const rule = new RefuseAll();
    const { model, server } = await given(entry, [rule]);
    const error = await failure(graphOf(model(), ["one", "two", "three"]).compile().invoke(say));
    expect(PolicyViolationError.find(error)).toBe(rule.error);
    expect(server.requests).toEqual([]);
  });

  it("a node with LangGraph's retry policy, evaluated once", async () => {
    const rule = new RefuseAll();
    const { model } = await given(entry, [rule]);
    const one = model();
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("one", async ({ messages }) => ({ messages: [await one.invoke(messages)] }), {
        retryPolicy: { maxAttempts: 3 },
      })
      .addEdge(START, "one")
      .addEdge("one", END)
      .compile();
    expect(await failure(graph.invoke(say))).toBe(rule.error);
    expect(rule.evaluations).toBe(1);
  });

  it("a graph with a checkpointer, which goes on where it stopped once there is room", async () => {
    const rule = new RefuseAll();
    const { model, server } = await given(entry, [rule]);
    const graph = graphOf(model(), ["one"]).compile({ checkpointer: new MemorySaver() });
    const config = { configurable: { thread_id: "t1" } };
    expect(await failure(graph.invoke(say, config))).toBe(rule.error);
    rule.isOpen = true;
    const { messages } = await graph.invoke(null, config);
    expect(messages.map(({ text }) => text)).toEqual(["Hi", "A local answer: ten tokens on every call"]);
    expect(server.requests).toHaveLength(1);
  });
});

describe.each(entries)("the calls of a graph through %s", (entry) => {
  it("that are in flight when a sibling is refused are aborted, and charged what came", async () => {
    const rules = [new MonthlyBudgetRule({ maxUsd: 0.15 })];
    const { model, policy, server, receipts } = await given(entry, rules, { waitMs: 0 });
    server.script({ hang: true });
    const one = model();
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("first", async ({ messages }) => ({ messages: [await one.invoke(messages)] }))
      .addNode("second", async ({ messages }) => {
        await server.arrived(1);
        return { messages: [await one.invoke(messages)] };
      })
      .addEdge(START, "first")
      .addEdge(START, "second")
      .compile();
    expect(PolicyViolationError.find(await failure(graph.invoke(say)))?.ruleName).toBe("MonthlyBudgetRule");
    await server.idle();
    await vi.waitFor(() => expect(receipts).toHaveLength(1), { timeout: 3_000 });
    expect(server.requests).toHaveLength(1);
    expect((await spend(policy)).settled).toBeGreaterThanOrEqual(billedUsd(server.bill));
    expect((await spend(policy)).held).toBe(0);
  });

  it("carry who, which thread, which node and, since LangChain tells it, which agent", async () => {
    const { model, policy } = await given(entry, [new MonthlyBudgetRule({ maxUsd: 100 })]);
    const labels: Labels[] = [];
    policy.on("call-settled", (event) => void labels.push(event.labels));
    const config = { configurable: { thread_id: "t1" }, metadata: { user_id: "ada", other: [1] } };
    await graphOf(model(), ["planner"]).compile({ checkpointer: new MemorySaver() }).invoke(say, config);
    await createAgent({ model: model(), tools: [], name: "researcher" }).invoke(say, config);
    expect(labels).toMatchObject([
      { user_id: "ada", thread_id: "t1", langgraph_node: "planner" },
      { user_id: "ada", thread_id: "t1", ...(hasModelEvents && { lc_agent_name: "researcher" }) },
    ]);
  });

  it("five graphs deep are metered once each", async () => {
    const { model, receipts, server } = await given(entry, [new MonthlyBudgetRule({ maxUsd: 100 })]);
    let run = (input: typeof say) => graphOf(model(), ["leaf"]).compile().invoke(input);
    for (let depth = 0; depth < 5; depth++) {
      const inner = run;
      const graph = new StateGraph(MessagesAnnotation)
        .addNode(`depth${depth}`, async () => ({ messages: (await inner(say)).messages as never }))
        .addEdge(START, `depth${depth}`)
        .compile();
      run = (input) => graph.invoke(input) as never;
    }
    await run(say);
    expect(server.requests).toHaveLength(1);
    expect(receipts).toHaveLength(1);
  });
});

describe("what LangChain does not tell callbacks a handler cannot see, and govern sees", () => {
  const rules = [new MonthlyBudgetRule({ maxUsd: 100 })];
  const other = { handleChatModelStart() {} };

  it("callbacks set after construction, then tools bound", async () => {
    const { chat, handler, server, receipts, policy } = await setUp({ rules });
    const model = chat({ callbacks: [] });
    model.callbacks = [handler];
    await model.bindTools([clock]).invoke("Hi");
    expect(server.requests).toHaveLength(1);
    expect(receipts).toEqual([]);
    const { govern } = await import("@driftlock/langchain");
    await govern(chatOn(server, { maxTokens: 100 }), { policy }).bindTools!([clock]).invoke("Hi");
    expect(receipts).toHaveLength(1);
  });

  it("withConfig({ callbacks }) under a call that passes its own", async () => {
    const { chat, handler, governed, server, receipts } = await setUp({ rules });
    await chat({ callbacks: [] })
      .withConfig({ callbacks: [handler] })
      .invoke("Hi", { callbacks: [other] });
    expect(server.requests).toHaveLength(1);
    expect(receipts).toEqual([]);
    await governed()
      .withConfig({ callbacks: [other] })
      .invoke("Hi", { callbacks: [other] });
    expect(receipts).toHaveLength(1);
  });

  it.runIf(hasModelEvents)("streamEvents without a version", async () => {
    const { chat, governed, server, receipts } = await setUp({ rules });
    const read = async (model: { streamEvents(input: string): unknown }) => {
      for await (const _ of model.streamEvents("Hi") as AsyncIterable<unknown>);
    };
    await read(chat() as never);
    expect(server.requests).toHaveLength(1);
    expect(receipts).toEqual([]);
    await read(governed() as never);
    expect(receipts).toHaveLength(1);
  });
});

it("Runnable.withRetry asks again at each attempt, unless onFailedAttempt rethrows", async () => {
  const rule = new RefuseAll();
  const { governed } = await setUp({ rules: [rule] });
  await failure(governed().withRetry({ stopAfterAttempt: 2 }).invoke("Hi"));
  expect(rule.evaluations).toBe(2);
  const onFailedAttempt = (error: unknown) => {
    if (PolicyViolationError.find(error)) throw error;
  };
  await failure(governed().withRetry({ stopAfterAttempt: 5, onFailedAttempt }).invoke("Hi"));
  expect(rule.evaluations).toBe(3);
});

it("withFallbacks asks the next model, which is judged by itself", async () => {
  const { governed, server } = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 0.05 })] });
  await governed()
    .withFallbacks([governed({ maxTokens: 10 })])
    .invoke("Hi");
  expect(server.requests.map(({ body }) => body.max_tokens)).toEqual([10]);
});
