import { BaseRule, MonthlyBudgetRule, PolicyViolationError, RuleDecision, VelocityLimitRule } from "@driftlock/core";
import { governEmbeddings } from "@driftlock/langchain";
import { MemorySaver } from "@langchain/langgraph";
import { OpenAIEmbeddings } from "@langchain/openai";
import {
  AIMessage,
  createAgent,
  humanInTheLoopMiddleware,
  modelCallLimitMiddleware,
  modelFallbackMiddleware,
  modelRetryMiddleware,
  type AnyAgentMiddleware,
} from "langchain";
import { describe, expect, it } from "vitest";
import { chatOn, collect, failure, spend } from "../harness.js";
import { calls, counted, question, setUpAgent, words } from "./kit.js";

/** Refuses with one and the same error, so that a test can see whether it is this very instance that arrives. */
class RefuseFrom extends BaseRule {
  readonly error = new PolicyViolationError({ ruleName: "RefuseFrom", decision: RuleDecision.block({}) });
  readonly #isRefused: () => boolean;
  constructor(isRefused: () => boolean = () => true) {
    super({}, "RefuseFrom");
    this.#isRefused = isRefused;
  }
  evaluate() {
    return this.#isRefused() ? RuleDecision.block({}) : RuleDecision.allow();
  }
  violation() {
    return this.error;
  }
}

/** Middleware around ours, in the order of the agent's list. */
const retry = modelRetryMiddleware({ maxRetries: 3, initialDelayMs: 0, jitter: false });
type Around = (ours: AnyAgentMiddleware, other: () => AnyAgentMiddleware) => AnyAgentMiddleware[];
const orders: Readonly<Record<string, Around>> = {
  alone: (ours) => [ours],
  "before modelRetry": (ours) => [ours, retry],
  "after modelRetry": (ours) => [retry, ours],
  "before modelFallback": (ours, fallback) => [ours, fallback()],
  "after modelFallback": (ours, fallback) => [fallback(), ours],
};

describe("a refused call of an agent ends the run with the very error of the rule, and nothing is sent", () => {
  it.each(Object.keys(orders))("%s", async (order) => {
    const rule = new RefuseFrom();
    const { server, model, governing } = await setUpAgent({ rules: [rule] });
    const fallback = () => modelFallbackMiddleware(chatOn(server));
    const agent = createAgent({ model: model(), tools: [], middleware: orders[order]!(governing(), fallback) });
    expect(await failure(agent.invoke(question))).toBe(rule.error);
    expect(server.requests).toEqual([]);
  });

  it("also when it streams", async () => {
    const rule = new RefuseFrom();
    const { server, model, governing } = await setUpAgent({ rules: [rule] });
    const agent = createAgent({ model: model(), tools: [], middleware: [governing()] });
    for (const streamMode of ["values", "updates", "messages"] as const)
      expect(await failure(agent.stream(question, { streamMode }).then(collect))).toBe(rule.error);
    expect(await failure(collect(agent.streamEvents(question, { version: "v2" })))).toBe(rule.error);
    expect(server.requests).toEqual([]);
  });

  it("also in the middle of a run", async () => {
    let isClosed = false;
    const rule = new RefuseFrom(() => isClosed);
    const { server, model, governing } = await setUpAgent({ rules: [rule] });
    server.script([calls("search"), words]);
    const search = counted("search", () => (isClosed = true));
    const agent = createAgent({ model: model(), tools: [search], middleware: [governing(), retry] });
    expect(await failure(agent.invoke(question))).toBe(rule.error);
    expect(server.requests).toHaveLength(1);
  });
});

describe("how long to wait, as LangChain's retries read it from an error", () => {
  it("is told where it is short, and not where a month has to turn: they would wait for it", async () => {
    const far = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 0 })] });
    const near = await setUpAgent({ rules: [new VelocityLimitRule({ maxRequests: 1, windowSeconds: 5 })] });
    await near.model({ callbacks: [near.handler] }).invoke("Hi");
    const errors = [far, near].map(({ model, governing }) =>
      failure(createAgent({ model: model(), tools: [], middleware: [governing()] }).invoke(question)),
    );
    const [month, seconds] = (await Promise.all(errors)) as PolicyViolationError[];
    expect(month!.retryAfterMs).toBeUndefined();
    expect(month!.decision.metadata["resetsAt"]).toEqual(expect.any(String));
    expect(seconds!.retryAfterMs).toBeGreaterThan(0);
    expect(seconds!.retryAfterMs).toBeLessThanOrEqual(6_000);
  });

  it("and the status for the application's own response is the same either way", async () => {
    const { model, handler } = await setUpAgent({
      rules: [new VelocityLimitRule({ maxRequests: 1, windowSeconds: 600 })],
    });
    const chat = model({ callbacks: [handler] });
    await chat.invoke("Hi");
    const refusal = PolicyViolationError.find(await failure(chat.invoke("Hi")))!;
    expect(refusal.retryAfterMs).toBeUndefined();
    expect(refusal.httpStatus).toBe(429);
    expect(refusal.message).toMatch(/Room again in \d+ s/);
  });
});

describe("the agents of a policy together", () => {
  it("send exactly what the budget holds: 100 parallel runs of one $0.10 call against $1.00", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 1 })] });
    const agent = createAgent({ model: model(), tools: [], middleware: [governing()] });
    const runs = await Promise.allSettled(Array.from({ length: 100 }, () => agent.invoke(question)));
    expect(server.requests).toHaveLength(10);
    expect(runs.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
    const errors = runs.flatMap((run) => (run.status === "rejected" ? [run.reason as unknown] : []));
    expect(errors.filter((error) => PolicyViolationError.isInstance(error))).toHaveLength(90);
    expect(await spend(policy)).toEqual({ settled: 1, held: 0 });
  }, 30_000);

  it("send it also where each run makes two calls and a tool call between them", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 1 })] });
    server.script(({ body }) => (body.messages?.at(-1)?.role === "tool" ? words : calls("search")));
    const agent = createAgent({ model: model(), tools: [counted("search")], middleware: [governing()] });
    const runs = await Promise.allSettled(Array.from({ length: 50 }, () => agent.invoke(question)));
    expect(server.requests).toHaveLength(10);
    expect(runs.filter(({ status }) => status === "rejected").length).toBeGreaterThanOrEqual(45);
    expect(await spend(policy)).toEqual({ settled: 1, held: 0 });
  }, 30_000);
});

describe('exitBehavior "end"', () => {
  it("answers with a message that says so, and runs what comes after an agent", async () => {
    const { server, model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 0.1 })] });
    server.script([calls("search"), words]);
    const middleware = [governing({ exitBehavior: "end" }), retry, modelCallLimitMiddleware({ runLimit: 5 })];
    const agent = createAgent({ model: model(), tools: [counted("search")], middleware });
    const { messages } = await agent.invoke(question);
    expect(messages.map((message) => message.type)).toEqual(["human", "ai", "tool", "ai"]);
    expect(messages.at(-1)!.text).toContain("Blocked by MonthlyBudgetRule");
    expect(server.requests).toHaveLength(1);
  });
});

describe("a thread whose run was refused", () => {
  const thread = { configurable: { thread_id: "t" } };

  it("goes on where it stopped once there is room: invoke(null)", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 0.1 })] });
    server.script([calls("search"), words]);
    const search = counted("search");
    const checkpointer = new MemorySaver();
    const agent = createAgent({ model: model(), tools: [search], middleware: [governing()], checkpointer });
    const error = await failure(agent.invoke(question, thread));
    expect(PolicyViolationError.isInstance(error)).toBe(true);
    expect(PolicyViolationError.isInstance(await failure(agent.invoke(null as never, thread)))).toBe(true);
    await policy.adjust("MonthlyBudgetRule", { addUsd: 0.1, by: "ada", reason: "more" });
    const { messages } = await agent.invoke(null as never, thread);
    expect(messages.map((message) => message.text)).toEqual(["Hi", "", "found", "done"]);
    expect(search.ran).toHaveBeenCalledTimes(1);
    expect(server.requests).toHaveLength(2);
  });

  it("goes on in another process, which never saw the refusal", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 0 })] });
    server.script([words]);
    const checkpointer = new MemorySaver();
    const agent = () => createAgent({ model: model(), tools: [], middleware: [governing()], checkpointer });
    await failure(agent().invoke(question, thread));
    await policy.adjust("MonthlyBudgetRule", { addUsd: 0.1, by: "ada", reason: "more" });
    const { messages } = await agent().invoke(null as never, thread);
    expect(messages.map((message) => message.text)).toEqual(["Hi", "done"]);
  });

  it("does not show the refusal to the model when it is asked something new", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 0 })] });
    const checkpointer = new MemorySaver();
    const agent = createAgent({ model: model(), tools: [], middleware: [governing()], checkpointer });
    await failure(agent.invoke(question, thread));
    await policy.adjust("MonthlyBudgetRule", { addUsd: 0.1, by: "ada", reason: "more" });
    await agent.invoke({ messages: [{ role: "user", content: "Ho" }] }, thread);
    expect(server.requests.map(({ body }) => body.messages?.map(({ content }) => content))).toEqual([["Hi", "Ho"]]);
  });

  it("asks no person again to approve tools that have run", async () => {
    const { server, model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 0.1 })] });
    server.script([calls("search"), words]);
    const approval = humanInTheLoopMiddleware({ interruptOn: { other: true } });
    const search = counted("search");
    const checkpointer = new MemorySaver();
    const agent = createAgent({ model: model(), tools: [search], middleware: [governing(), approval], checkpointer });
    expect(PolicyViolationError.isInstance(await failure(agent.invoke(question, thread)))).toBe(true);
    expect(search.ran).toHaveBeenCalledTimes(1);
  });
});

describe("failures that are no refusals", () => {
  it("are left to the agent's other middleware", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 1 })] });
    server.script([{ status: 429 }, { status: 429 }, words]);
    const agent = createAgent({ model: model(), tools: [], middleware: [governing(), retry] });
    const { messages } = await agent.invoke(question);
    expect(messages.at(-1)!.text).toBe("done");
    expect(await spend(policy)).toEqual({ settled: 0.1, held: 0 });
  });

  it("an answer of the provider that an inner fallback makes is judged and charged too", async () => {
    const { server, policy, model, governing, receipts } = await setUpAgent({
      rules: [new MonthlyBudgetRule({ maxUsd: 1 })],
    });
    server.script([{ status: 400 }, words]);
    const fallback = modelFallbackMiddleware(chatOn(server, { maxTokens: 50 }));
    const agent = createAgent({ model: model(), tools: [], middleware: [governing(), fallback] });
    const { messages } = await agent.invoke(question);
    expect(AIMessage.isInstance(messages.at(-1))).toBe(true);
    expect(receipts.map(({ costUsd }) => costUsd)).toEqual([0.05]);
    expect(await spend(policy)).toEqual({ settled: 0.05, held: 0 });
  });
});

it("a refusal of embeddings in a tool that fails after it ends the run too", async () => {
  const small = "text-embedding-3-small";
  const dear = { inputUsdPerMTok: 100_000, outputUsdPerMTok: 1000 };
  const prices = { overrides: { "gpt-4o": { ...dear, inputUsdPerMTok: 0 }, [small]: dear } };
  const { server, policy, model, governing } = await setUpAgent({
    rules: [new MonthlyBudgetRule({ maxUsd: 0.2 })],
    prices,
  });
  server.script(() => calls("search"));
  const own = new OpenAIEmbeddings({ model: small, apiKey: "any", configuration: { baseURL: server.url } });
  const embeddings = governEmbeddings(own, { policy });
  const search = counted("search", () =>
    embeddings.embedQuery("Hi").catch(() => {
      throw new Error("search failed");
    }),
  );
  const agent = createAgent({ model: model(), tools: [search], middleware: [governing()] });
  expect(PolicyViolationError.isInstance(await failure(agent.invoke(question)))).toBe(true);
  expect(server.requests).toHaveLength(1);
});
