import {
  BudgetRule,
  MonthlyBudgetRule,
  PerUserBudgetRule,
  withAmbient,
  withLabels,
  type Labels,
  type PolicyEngineOptions,
} from "@driftlock/core";
import { DriftlockCallbackHandler, type DriftlockCallbackHandlerOptions } from "@driftlock/langchain";
import { StringOutputParser } from "@langchain/core/output_parsers";
import { ChatPromptTemplate } from "@langchain/core/prompts";
import { RunnableLambda } from "@langchain/core/runnables";
import { describe, expect, it } from "vitest";
import { collect, failure, setUp, spend } from "./harness.js";

const rules = [new MonthlyBudgetRule({ maxUsd: 100 })];

/** The labels of a call made with this metadata. */
async function labelsOf(
  metadata: Record<string, unknown> | undefined,
  handler: Partial<DriftlockCallbackHandlerOptions> = {},
  policy: Partial<PolicyEngineOptions> = {},
): Promise<Labels> {
  const { chat, policy: engine } = await setUp({ rules, ...policy }, handler);
  let labels: Labels | undefined;
  engine.on("call-reserved", (event) => void (labels = event.labels));
  await chat().invoke("Hi", metadata === undefined ? {} : { metadata });
  return { ...labels };
}

describe("labels come from the run's metadata", () => {
  it("user_id, thread_id, agent and node by default; the rest is left out", async () => {
    const metadata = {
      user_id: "ada",
      thread_id: "t1",
      lc_agent_name: "planner",
      langgraph_node: "agent",
      langgraph_step: 3,
      other: "x",
    };
    expect(await labelsOf(metadata)).toEqual({
      user_id: "ada",
      thread_id: "t1",
      lc_agent_name: "planner",
      langgraph_node: "agent",
    });
  });

  it("userId means user_id, which wins", async () => {
    expect(await labelsOf({ userId: "ada" })).toEqual({ user_id: "ada" });
    expect(await labelsOf({ userId: "ada", user_id: "bob" })).toEqual({ user_id: "bob" });
  });

  it("and those that a rule or `track` names", async () => {
    const policy = { rules: [new BudgetRule({ maxUsd: 1, scope: { label: "team" } })], track: ["feature"] };
    expect(await labelsOf({ team: "search", feature: 7, other: "x" }, {}, policy)).toEqual({
      team: "search",
      feature: "7",
    });
  });

  it("numbers and booleans become strings, other values are left out, long ones are hashed", async () => {
    const labelsFrom = (metadata: Record<string, unknown>) => metadata;
    const metadata = {
      number: 42,
      yes: true,
      list: [1],
      object: {},
      nothing: null,
      checkpoint_ns: "n|".repeat(126),
      long: "x".repeat(10_000),
    };
    const labels = await labelsOf(metadata, { labelsFrom });
    expect(labels).toMatchObject({ number: "42", yes: "true", checkpoint_ns: metadata.checkpoint_ns });
    expect(labels["long"]).toMatch(/^sha256:[0-9a-f]{64}$/);
    for (const name of ["list", "object", "nothing"]) expect(labels).not.toHaveProperty(name);
  });

  it("never throw, whatever the metadata holds", async () => {
    const labelsFrom = (metadata: Record<string, unknown>) => metadata;
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`key-${i}`, i]));
    const hostile = { ["x".repeat(300)]: "long name", ["__proto__"]: "polluted", "": "empty", ...many };
    const labels = await labelsOf(JSON.parse(JSON.stringify(hostile)) as Record<string, unknown>, {
      labelsFrom,
      labels: { team: "search" },
    });
    expect(Object.keys(labels)).toHaveLength(32);
    expect(labels["team"]).toBe("search");
    for (const value of [undefined, null, "text", 5, []]) {
      expect(await labelsOf({}, { labelsFrom: () => value as never })).toEqual({});
    }
  });

  it("labelsFrom that throws refuses the call: its user's limits could not be kept", async () => {
    const labelsFrom = () => {
      throw new Error("no user");
    };
    const { chat, server } = await setUp({ rules }, { labelsFrom });
    expect(await failure(chat().invoke("Hi"))).toMatchObject({
      name: "ConfigError",
      field: "labelsFrom",
      cause: { message: "no user" },
    });
    expect(server.requests).toEqual([]);
  });
});

describe("labels of the application", () => {
  it("are those of the handler, under metadata", async () => {
    expect(await labelsOf({ user_id: "ada" }, { labels: { team: "search", user_id: "nobody" } })).toEqual({
      team: "search",
      user_id: "ada",
    });
  });

  it("are not overruled by metadata where they are trusted", async () => {
    const trusted = { trustedLabels: ["user_id"] };
    expect(await labelsOf({ user_id: "eve", userId: "eve", thread_id: "t" }, trusted)).toEqual({ thread_id: "t" });
    expect(await labelsOf({ user_id: "eve" }, { ...trusted, labels: { user_id: "ada" } })).toEqual({ user_id: "ada" });
    const { chat, policy } = await setUp(
      { rules: [new PerUserBudgetRule({ userBudgets: { ada: 1, eve: 1 } })] },
      trusted,
    );
    await withLabels({ user_id: "ada" }, () => chat().invoke("Hi", { metadata: { user_id: "eve" } }));
    expect(await spend(policy, { user_id: "ada" })).toEqual({ settled: 0.1, held: 0 });
    expect(await spend(policy, { user_id: "eve" })).toEqual({ settled: 0, held: 0 });
  });
});

describe("an ambient block reaches the calls inside it", () => {
  const prompt = ChatPromptTemplate.fromMessages([["human", "{input}"]]);
  const users = Array.from({ length: 20 }, (_, i) => `user-${i}`);

  it.each(["invoke", "stream", "batch", "lambda"])("by %s, every one its own, also in parallel", async (way) => {
    const { chat, policy } = await setUp({ rules: [new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 1 })] });
    const model = chat();
    const chain = prompt.pipe(model).pipe(new StringOutputParser());
    const input = { input: "Hi" };
    const call = async () => {
      if (way === "invoke") await chain.invoke(input);
      else if (way === "stream") await collect(await chain.stream(input));
      else if (way === "batch") await chain.batch([input]);
      else await RunnableLambda.from(() => model.invoke("Hi")).invoke(input);
    };
    await Promise.all(users.map((user_id) => withLabels({ user_id }, call)));
    for (const user_id of users) expect(await spend(policy, { user_id })).toEqual({ settled: 0.1, held: 0 });
  });

  it("with its rules", async () => {
    const { chat, server } = await setUp({ rules });
    const ambient = { rules: [new MonthlyBudgetRule({ maxUsd: 0, name: "Paused" })] };
    expect(await failure(withAmbient(ambient, () => prompt.pipe(chat()).invoke({ input: "Hi" })))).toMatchObject({
      ruleName: "Paused",
    });
    await prompt.pipe(chat()).invoke({ input: "Hi" });
    expect(server.requests).toHaveLength(1);
  });

  it("a handler made once serves many users by the metadata of their runs", async () => {
    const { chat, policy } = await setUp({ rules: [new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 1 })] });
    const model = chat();
    await Promise.all(users.map((user_id) => prompt.pipe(model).invoke({ input: "Hi" }, { metadata: { user_id } })));
    for (const user_id of users) expect(await spend(policy, { user_id })).toEqual({ settled: 0.1, held: 0 });
  });
});

describe("an option that cannot be right is refused at construction, by its name", () => {
  it.each<[string, object]>([
    ["policy", {}],
    ["policy", { policy: "monthly" }],
    ["model", { model: "" }],
    ["labels", { labels: ["user_id"] }],
    ["labels.user_id", { labels: { user_id: 5 } }],
    ["labelsFrom", { labelsFrom: "user_id" }],
    ["trustedLabels", { trustedLabels: "user_id" }],
    ["trustedLabels", { trustedLabels: [5] }],
  ])("%s in %o", async (field, options) => {
    const { policy } = await setUp({ rules });
    const make = () =>
      new DriftlockCallbackHandler({
        ...("policy" in options || field === "policy" ? {} : { policy }),
        ...options,
      } as never);
    expect(make).toThrow(expect.objectContaining({ name: "ConfigError", field }));
  });

  it("and none at all", () => {
    expect(() => new DriftlockCallbackHandler(undefined as never)).toThrow("policy: must be a PolicyEngine");
  });
});

it("LangChain waits for the handler, and raises what it throws", async () => {
  const { handler } = await setUp({ rules });
  expect(handler).toMatchObject({ raiseError: true, awaitHandlers: true });
  expect(handler.copy()).toMatchObject({ raiseError: true, awaitHandlers: true, name: "DriftlockCallbackHandler" });
});

describe("a user is never lost on the way", () => {
  it("labelsFrom that answers a promise refuses the call", async () => {
    const labelsFrom = (() => Promise.resolve({ user_id: "ada" })) as never;
    const { chat, server } = await setUp({ rules }, { labelsFrom });
    expect(await failure(chat().invoke("Hi"))).toMatchObject({ code: "INVALID_INPUT", field: "labelsFrom" });
    expect(server.requests).toHaveLength(0);
  });

  it("user_id and what rules count by come first when there are too many labels", async () => {
    const crowd = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`label${i}`, "x"]));
    const policy = { rules: [new BudgetRule({ maxUsd: 1, scope: { label: "team" } })] };
    const labelsFrom = () => ({ ...crowd, team: "search", user_id: "ada" });
    expect(await labelsOf({}, { labelsFrom }, policy)).toMatchObject({ user_id: "ada", team: "search" });
  });
});
