import { BaseRule, MonthlyBudgetRule, PolicyViolationError, RuleDecision, type Context } from "@driftlock/core";
import { govern } from "@driftlock/langchain";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { RunnableConfig } from "@langchain/core/runnables";
import { END, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { createReactAgent } from "@langchain/langgraph/prebuilt";
import { createAgent } from "langchain";
import { describe, expect, it } from "vitest";
import { chatOn, failure, perToken, setUp, spend } from "../harness.js";
import { calls, counted, question, setUpAgent, words } from "./kit.js";

type State = typeof MessagesAnnotation.State;
type Node = (state: State, config: RunnableConfig) => Promise<Partial<State>>;

/** The two ways a model in a graph is governed without middleware. */
const ways = ["handler", "govern"] as const;

async function setUpGraph(way: (typeof ways)[number], options: Parameters<typeof setUp>[0]) {
  const kit = await setUp(options);
  const { policy, handler, server } = kit;
  const model = (fields = {}): BaseChatModel =>
    way === "handler"
      ? chatOn(server, { maxTokens: 100, callbacks: [handler], ...fields })
      : (govern(chatOn(server, { maxTokens: 100, ...fields }), { policy }) as unknown as BaseChatModel);
  const asks =
    (fields = {}): Node =>
    async ({ messages }, config) => ({ messages: [await model(fields).invoke(messages, config)] });
  return { ...kit, model, asks };
}

/** Refuses models of one name, with one and the same error. */
class RefuseModel extends BaseRule {
  readonly error = new PolicyViolationError({ ruleName: "RefuseModel", decision: RuleDecision.block({}) });
  readonly #refused: string;
  constructor(refused: string) {
    super({}, "RefuseModel");
    this.#refused = refused;
  }
  evaluate({ model }: Context) {
    return model === this.#refused ? RuleDecision.block({}) : RuleDecision.allow();
  }
  violation() {
    return this.error;
  }
}

describe.each(ways)("a graph whose models are governed by %s", (way) => {
  it("rejects with the very error of the rule, and its retry policy asks once", async () => {
    const rule = new RefuseModel("gpt-4o");
    const { asks, policy, server } = await setUpGraph(way, { rules: [rule] });
    let denied = 0;
    policy.on("call-denied", () => void denied++);
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("ask", asks(), { retryPolicy: { initialInterval: 1, jitter: false, logWarning: false } })
      .addEdge(START, "ask")
      .addEdge("ask", END)
      .compile();
    expect(await failure(graph.invoke(question))).toBe(rule.error);
    expect(denied).toBe(1);
    expect(server.requests).toEqual([]);
  });

  it("aborts the siblings of a refused node that are in flight, and settles them as cancelled", async () => {
    const rule = new RefuseModel("gpt-4o-mini");
    const { asks, server, receipts, policy } = await setUpGraph(way, {
      rules: [rule, new MonthlyBudgetRule({ maxUsd: 100 })],
      prices: { overrides: { "gpt-4o": perToken, "gpt-4o-mini": perToken } },
    });
    server.script({ hang: true });
    const late: Node = async (state, config) => {
      await server.arrived(1);
      return asks({ model: "gpt-4o-mini" })(state, config);
    };
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("slow", asks())
      .addNode("late", late)
      .addEdge(START, "slow")
      .addEdge(START, "late")
      .addEdge("slow", END)
      .addEdge("late", END)
      .compile();
    const error = await failure(graph.invoke(question));
    expect(PolicyViolationError.find(error)).toBe(rule.error);
    await server.idle();
    expect(server.bill).toMatchObject([{ outcome: "aborted" }]);
    await expect.poll(() => receipts.length).toBe(1);
    // Its input; nothing was streamed.
    expect(receipts[0]).toMatchObject({ estimated: true });
    expect(receipts[0]!.costUsd).toBeGreaterThan(0);
    expect(receipts[0]!.costUsd).toBeLessThan(0.1);
    expect((await spend(policy)).held).toBe(0);
  });

  it("tells all refusals of parallel nodes together, and `find` finds one", async () => {
    const { asks, server } = await setUpGraph(way, { rules: [new MonthlyBudgetRule({ maxUsd: 0 })] });
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("a", asks())
      .addNode("b", asks())
      .addEdge(START, "a")
      .addEdge(START, "b")
      .addEdge("a", END)
      .addEdge("b", END)
      .compile();
    const error = await failure(graph.invoke(question));
    expect(PolicyViolationError.find(error)?.ruleName).toBe("MonthlyBudgetRule");
    expect(server.requests).toEqual([]);
  });

  it("goes on after a denial where it stopped: invoke(null) on the same thread", async () => {
    const { asks, server, policy } = await setUpGraph(way, { rules: [new MonthlyBudgetRule({ maxUsd: 0.1 })] });
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("first", asks())
      .addNode("second", asks())
      .addEdge(START, "first")
      .addEdge("first", "second")
      .addEdge("second", END)
      .compile({ checkpointer: new MemorySaver() });
    const thread = { configurable: { thread_id: "t" } };
    expect(PolicyViolationError.isInstance(await failure(graph.invoke(question, thread)))).toBe(true);
    expect(server.requests).toHaveLength(1);
    await policy.adjust("MonthlyBudgetRule", { addUsd: 0.1, by: "ada", reason: "more" });
    const { messages } = await graph.invoke(null, thread);
    expect(messages).toHaveLength(3);
    expect(server.requests).toHaveLength(2);
  });

  it("is exact: 100 parallel runs of one $0.10 call against $1.00 send 10", async () => {
    const { asks, server, policy } = await setUpGraph(way, { rules: [new MonthlyBudgetRule({ maxUsd: 1 })] });
    const graph = new StateGraph(MessagesAnnotation).addNode("ask", asks()).addEdge(START, "ask").compile();
    const runs = await Promise.allSettled(Array.from({ length: 100 }, () => graph.invoke(question)));
    expect(runs.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
    expect(server.requests).toHaveLength(10);
    expect(await spend(policy)).toEqual({ settled: 1, held: 0 });
  });

  it("tells which node spent what", async () => {
    const { asks, policy } = await setUpGraph(way, { rules: [new MonthlyBudgetRule({ maxUsd: 1 })] });
    const nodes: unknown[] = [];
    policy.on("call-settled", ({ labels }) => void nodes.push(labels["langgraph_node"]));
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("plan", asks())
      .addNode("write", asks())
      .addEdge(START, "plan")
      .addEdge("plan", "write")
      .compile();
    await graph.invoke(question);
    expect(nodes).toEqual(["plan", "write"]);
  });

  it("may be LangGraph's prebuilt agent", async () => {
    const { model, server, policy } = await setUpGraph(way, { rules: [new MonthlyBudgetRule({ maxUsd: 0.2 })] });
    server.script([calls("search"), words]);
    const search = counted("search");
    const agent = createReactAgent({ llm: model(), tools: [search] });
    expect((await agent.invoke(question)).messages).toHaveLength(4);
    expect(PolicyViolationError.isInstance(await failure(agent.invoke(question)))).toBe(true);
    expect(server.requests).toHaveLength(2);
    expect(search.ran).toHaveBeenCalledTimes(1);
    expect(await spend(policy)).toEqual({ settled: 0.2, held: 0 });
  });
});

describe("an agent with the middleware as a node of a graph", () => {
  it("stops the graph with the very error of the rule, and goes on with it after a denial", async () => {
    const { model, governing, server, policy } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 0.1 })] });
    server.script([calls("search"), words]);
    const agent = createAgent({ model: model(), tools: [counted("search")], middleware: [governing()] });
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("agent", agent.graph as never)
      .addEdge(START, "agent")
      .addEdge("agent", END)
      .compile({ checkpointer: new MemorySaver() });
    const thread = { configurable: { thread_id: "t" } };
    expect(PolicyViolationError.isInstance(await failure(graph.invoke(question, thread)))).toBe(true);
    expect(server.requests).toHaveLength(1);
    await policy.adjust("MonthlyBudgetRule", { addUsd: 0.1, by: "ada", reason: "more" });
    const { messages } = await graph.invoke(null, thread);
    expect(messages.at(-1)!.text).toBe("done");
    expect(server.requests).toHaveLength(2);
  });
});
