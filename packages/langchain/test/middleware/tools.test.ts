import { MaxCostPerRequestRule, MonthlyBudgetRule, PolicyViolationError } from "@driftlock/core";
import {
  Command,
  interrupt,
  MemorySaver,
  MessagesAnnotation,
  ParentCommand,
  START,
  StateGraph,
} from "@langchain/langgraph";
import { createAgent, toolRetryMiddleware } from "langchain";
import { describe, expect, it } from "vitest";
import { collect, failure, spend } from "../harness.js";
import { calls, contents, counted, question, setUpAgent, words } from "./kit.js";

const rules = [new MonthlyBudgetRule({ maxUsd: 1 })];
const retry = toolRetryMiddleware({ maxRetries: 2, initialDelayMs: 0, jitter: false });

describe("tool costs", () => {
  it("are charged for each execution, beside the model's calls", async () => {
    const { server, policy, model, governing, receipts } = await setUpAgent({ rules });
    server.script([calls("search", "search", "free"), words]);
    const agent = createAgent({
      model: model(),
      tools: [counted("search"), counted("free")],
      middleware: [governing({ toolCosts: { search: 0.02 } })],
    });
    await agent.invoke(question);
    expect(receipts.map(({ model, costUsd }) => [model, costUsd])).toEqual([
      ["gpt-4o", 0.1],
      ["search", 0.02],
      ["search", 0.02],
      ["gpt-4o", 0.1],
    ]);
    expect(await spend(policy)).toEqual({ settled: 0.24, held: 0 });
  });

  it("can depend on the call", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules });
    server.script([calls("search"), words]);
    const toolCosts = ({ args }: { args: Record<string, unknown> }) => (args["query"] === "x" ? 0.05 : undefined);
    const agent = createAgent({ model: model(), tools: [counted("search")], middleware: [governing({ toolCosts })] });
    await agent.invoke(question);
    expect((await spend(policy)).settled).toBe(0.25);
  });

  it("beyond the budget end the run with the rule's error, and the tool is not run, whoever retries", async () => {
    for (const order of ["alone", "inside", "outside"]) {
      const { server, policy, model, governing } = await setUpAgent({ rules });
      server.script([calls("search"), words]);
      const search = counted("search");
      const ours = governing({ toolCosts: { search: 5 } });
      const middleware = order === "alone" ? [ours] : order === "inside" ? [ours, retry] : [retry, ours];
      const agent = createAgent({ model: model(), tools: [search], middleware });
      const error = await failure(agent.invoke(question));
      expect(PolicyViolationError.isInstance(error)).toBe(true);
      expect(search.ran).not.toHaveBeenCalled();
      expect(server.requests).toHaveLength(1);
      expect(await spend(policy)).toEqual({ settled: 0.1, held: 0 });
    }
  });

  it("refused on the way go on with that tool, once there is room", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules });
    server.script([calls("search", "free"), words]);
    const search = counted("search");
    const free = counted("free");
    const agent = createAgent({
      model: model(),
      tools: [search, free],
      middleware: [governing({ toolCosts: { search: 5 } })],
      checkpointer: new MemorySaver(),
    });
    const thread = { configurable: { thread_id: "t" } };
    expect(PolicyViolationError.isInstance(await failure(agent.invoke(question, thread)))).toBe(true);
    await policy.adjust("MonthlyBudgetRule", { addUsd: 5, by: "ada", reason: "more" });
    const { messages } = await agent.invoke(null as never, thread);
    expect(search.ran).toHaveBeenCalledTimes(1);
    expect(free.ran).toHaveBeenCalledTimes(1);
    expect(messages.filter(({ type }) => type === "tool").map(({ text }) => text)).toEqual(["found", "found"]);
    expect(await spend(policy)).toEqual({ settled: 5.2, held: 0 });
  });

  it("are charged again for each try of a tool that is retried", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules });
    server.script([calls("search"), words]);
    let tries = 0;
    const search = counted("search", () => {
      if (++tries < 3) throw new Error("busy");
      return "found";
    });
    const agent = createAgent({
      model: model(),
      tools: [search],
      middleware: [governing({ toolCosts: { search: 0.01 } }), retry],
    });
    await agent.invoke(question);
    expect(search.ran).toHaveBeenCalledTimes(3);
    expect((await spend(policy)).settled).toBeCloseTo(0.23, 9);
  });

  it("are not charged for a tool that was never run, or that waits for a person", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules });
    server.script([{ toolCalls: [{ name: "search", arguments: { wrong: 1 } }] }, calls("ask"), words]);
    const ask = counted("ask", () => interrupt("May I?"));
    const agent = createAgent({
      model: model(),
      tools: [counted("search"), ask],
      middleware: [governing({ toolCosts: { search: 0.01, ask: 0.02 } })],
      checkpointer: new MemorySaver(),
    });
    const thread = { configurable: { thread_id: "t" } };
    const paused = await agent.invoke(question, thread);
    expect(paused).toHaveProperty("__interrupt__");
    const before = (await spend(policy)).settled;
    await agent.invoke(new Command({ resume: "yes" }), thread);
    expect((await spend(policy)).settled - before).toBeCloseTo(0.12, 9);
    expect(before).toBeCloseTo(0.103, 9);
  });

  it("refused on the way leave a thread that can be asked something new", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script([calls("search"), words]);
    const agent = createAgent({
      model: model(),
      tools: [counted("search")],
      middleware: [governing({ toolCosts: { search: 5 } })],
      checkpointer: new MemorySaver(),
    });
    const thread = { configurable: { thread_id: "t" } };
    await failure(agent.invoke(question, thread));
    await agent.invoke({ messages: [{ role: "user", content: "Ho" }] }, thread);
    // Every tool call of the history has its answer: a provider refuses it otherwise.
    expect(server.requests[1]!.body.messages?.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "user"]);
    expect(String(contents(server.requests[1]!)[2])).toContain("Blocked by MonthlyBudgetRule");
  });

  it("are held while the tool runs, and a model it calls does not wait for that", async () => {
    const { server, model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 0.25 })] });
    server.script([calls("search"), words]);
    const search = counted("search", async () => (await model().invoke("Hi")).text);
    const agent = createAgent({
      model: model(),
      tools: [search],
      middleware: [governing({ toolCosts: { search: 0.1 } })],
    });
    // By default a call waits 10 s for the money that others hold.
    expect(PolicyViolationError.isInstance(await failure(agent.invoke(question)))).toBe(true);
    expect(server.requests).toHaveLength(1);
  });

  it("that cannot be judged end the run, and the model is not told", async () => {
    const { server, model, governing, policy } = await setUpAgent({ rules });
    server.script([calls("search"), words]);
    const closes = counted("search", () => policy.authorize({ operation: "x", costUsd: -1 }));
    const agent = createAgent({ model: model(), tools: [closes], middleware: [governing()] });
    expect(await failure(agent.invoke(question))).toMatchObject({ name: "ConfigError" });
    expect(server.requests).toHaveLength(1);
  });

  it("that are nonsense refuse the call, and the model is told", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script([calls("search"), words]);
    const search = counted("search");
    const agent = createAgent({
      model: model(),
      tools: [search],
      middleware: [governing({ toolCosts: () => Number.NaN })],
    });
    const error = await failure(agent.invoke(question));
    expect(error).toMatchObject({ cause: { name: "ConfigError", field: "toolCosts.search" } });
    expect(search.ran).not.toHaveBeenCalled();
  });
});

describe("limits on tool calls", () => {
  it("answer a call beyond them with a message, and the run goes on", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script([calls("search", "search", "search"), calls("other"), words]);
    const search = counted("search");
    const other = counted("other");
    const toolCallLimits = [{ toolName: "search", runLimit: 2 }];
    const agent = createAgent({ model: model(), tools: [search, other], middleware: [governing({ toolCallLimits })] });
    await agent.invoke(question);
    expect(search.ran).toHaveBeenCalledTimes(2);
    expect(other.ran).toHaveBeenCalledTimes(1);
    const told = contents(server.requests[1]!).filter((content) => String(content).includes("limit"));
    expect(told).toEqual(["Tool call limit exceeded. Do not call 'search' again."]);
  });

  it("hold for all tools together, for a run and for a thread, also across agents made anew", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script(({ body }) => (body.messages?.at(-1)?.role === "tool" ? words : calls("search", "other")));
    const search = counted("search");
    const other = counted("other");
    const agent = () =>
      createAgent({
        model: model(),
        tools: [search, other],
        middleware: [governing({ toolCallLimits: [{ threadLimit: 3 }] })],
      });
    for (let run = 0; run < 3; run++) await agent().invoke(question, { configurable: { thread_id: "t" } });
    expect(search.ran.mock.calls.length + other.ran.mock.calls.length).toBe(3);
    await agent().invoke(question, { configurable: { thread_id: "another" } });
    expect(search.ran.mock.calls.length + other.ran.mock.calls.length).toBe(5);
  });

  it("need a thread where they are a thread's", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script([calls("search"), words]);
    const middleware = [governing({ toolCallLimits: [{ threadLimit: 3 }] })];
    const agent = createAgent({ model: model(), tools: [counted("search")], middleware });
    expect(await failure(agent.invoke(question))).toMatchObject({
      cause: { name: "ConfigError", field: "threadLimit" },
    });
  });
});

describe("limits on model calls", () => {
  it("refuse the call beyond a run's limit, and count each run afresh", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script(() => calls("search"));
    const agent = createAgent({ model: model(), tools: [counted("search")], middleware: [governing({ runLimit: 2 })] });
    for (let run = 1; run <= 2; run++) {
      const error = await failure(agent.invoke(question));
      expect(error).toMatchObject({ ruleName: "RunLimit", decision: { metadata: { maxCalls: 2, count: 2 } } });
      expect(server.requests).toHaveLength(2 * run);
    }
  });

  it("hold for a thread across its runs and processes", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    const agent = () =>
      createAgent({ model: model(), tools: [], middleware: [governing({ threadLimit: 3, exitBehavior: "end" })] });
    for (let run = 0; run < 5; run++) await agent().invoke(question, { configurable: { thread_id: "t" } });
    expect(server.requests).toHaveLength(3);
  });
});

describe("a limit of a thread", () => {
  it("holds also when the graph is taken back to an earlier checkpoint", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    const checkpointer = new MemorySaver();
    const agent = createAgent({ model: model(), tools: [], middleware: [governing({ threadLimit: 2 })], checkpointer });
    const thread = { configurable: { thread_id: "t" } };
    await agent.invoke(question, thread);
    await agent.invoke(question, thread);
    const history = await collect(checkpointer.list(thread));
    const earliest = history.at(-1)!.config;
    expect(PolicyViolationError.find(await failure(agent.invoke(null as never, earliest)))?.ruleName).toBe(
      "ThreadLimit",
    );
    expect(server.requests).toHaveLength(2);
  });
});

describe("a tool that calls a model", () => {
  it("is judged without being governed itself, and a refusal in it stops the run, whoever answers the error", async () => {
    const { server, model, governing, policy } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 0.2 })] });
    server.script(({ body }) => ((body.tools?.length ?? 0) > 0 ? calls("search") : words));
    const search = counted("search", async () => (await model().invoke("Hi")).text);
    const agent = createAgent({ model: model(), tools: [search], middleware: [governing(), retry] });
    expect(PolicyViolationError.isInstance(await failure(agent.invoke(question)))).toBe(true);
    expect(server.requests).toHaveLength(2);
    expect(await spend(policy)).toEqual({ settled: 0.2, held: 0 });
  });

  it("may deal with a refusal by itself", async () => {
    const { server, model, governing } = await setUpAgent({ rules: [new MaxCostPerRequestRule({ maxUsd: 0.1 })] });
    server.script(({ body }) => (body.messages!.length > 2 ? words : calls("search")));
    const search = counted("search", () =>
      model({ maxTokens: 5000 })
        .invoke("Hi")
        .catch(() => "too dear"),
    );
    const agent = createAgent({ model: model(), tools: [search], middleware: [governing()] });
    const { messages } = await agent.invoke(question);
    expect(messages.map(({ text }) => text)).toEqual(["Hi", "", "too dear", "done"]);
  });
});

describe("a tool that fails by itself", () => {
  const broken = () => counted("search", () => Promise.reject(new Error("no route")));

  it("tells the model, as it would without us", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    const told: unknown[][] = [];
    for (const middleware of [[], [governing()]]) {
      server.script([calls("search"), words, calls("search"), words]);
      server.reset();
      server.script([calls("search"), words]);
      await createAgent({ model: model(), tools: [broken()], middleware }).invoke(question);
      told.push(contents(server.requests[1]!));
    }
    expect(told[0]!.at(-1)).toBe("Error: no route\n Please fix your mistakes.");
    expect(told[1]).toEqual(told[0]);
  });

  it('ends the run with onFailure "error", and says what a function says', async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script([calls("search"), words]);
    const strict = createAgent({ model: model(), tools: [broken()], middleware: [governing({ onFailure: "error" })] });
    expect(await failure(strict.invoke(question))).toMatchObject({ message: "no route" });

    server.script([calls("search"), words]);
    const onFailure = (error: Error) => `It failed: ${error.message}`;
    const kind = createAgent({ model: model(), tools: [broken()], middleware: [governing({ onFailure })] });
    const { messages } = await kind.invoke(question);
    expect(messages.map(({ text }) => text)).toContain("It failed: no route");
  });

  it("is told when its arguments are wrong", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script([{ toolCalls: [{ name: "search", arguments: { wrong: 1 } }] }, words]);
    await createAgent({ model: model(), tools: [counted("search")], middleware: [governing()] }).invoke(question);
    expect(String(contents(server.requests[1]!).at(-1))).toContain("Error invoking tool 'search'");
  });
});

it("a tool that hands over to a parent graph has run, and is charged", async () => {
  const { server, policy, model, governing } = await setUpAgent({ rules });
  server.script(calls("transfer"));
  const transfer = counted("transfer", () => {
    throw new ParentCommand(new Command({ graph: Command.PARENT, goto: "__end__" }));
  });
  const middleware = [governing({ toolCosts: { transfer: 0.01 } })];
  const agent = createAgent({ model: model(), tools: [transfer], middleware });
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("agent", async ({ messages }) => agent.invoke({ messages }), { ends: ["__end__"] })
    .addEdge(START, "agent")
    .compile();
  await graph.invoke(question);
  expect(transfer.ran).toHaveBeenCalledTimes(1);
  expect(server.requests).toHaveLength(1);
  expect(await spend(policy)).toEqual({ settled: 0.11, held: 0 });
});
