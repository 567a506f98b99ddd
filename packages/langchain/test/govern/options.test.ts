import { MonthlyBudgetRule, PerUserBudgetRule, withAmbient, withLabels } from "@driftlock/core";
import { govern, governEmbeddings } from "@driftlock/langchain";
import { ChatPromptTemplate } from "@langchain/core/prompts";
import { RunnableLambda } from "@langchain/core/runnables";
import { OpenAIEmbeddings } from "@langchain/openai";
import { createAgent } from "langchain";
import { describe, expect, it } from "vitest";
import { chatOn, collect, failure, known, setUp, spend } from "../harness.js";

const rules = [new MonthlyBudgetRule({ maxUsd: 100 })];

describe("an option that cannot be right is refused at construction, by its name", () => {
  it.each<[string, object]>([
    ["policy", { policy: undefined }],
    ["policy", { policy: "monthly" }],
    ["model", { model: "" }],
    ["models", { models: "gpt-4o-mini" }],
    ["models.gpt-4o-mini", { models: { "gpt-4o-mini": "gpt-4o-mini" } }],
    ["labels", { labels: ["user_id"] }],
    ["labels.user_id", { labels: { user_id: 5 } }],
    ["labelsFrom", { labelsFrom: "user_id" }],
    ["trustedLabels", { trustedLabels: "user_id" }],
  ])("%s in %o", async (field, options) => {
    const { policy, server } = await setUp({ rules });
    const make = () => govern(chatOn(server), { policy, ...options } as never);
    expect(make).toThrow(expect.objectContaining({ name: "ConfigError", field }));
  });

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["a name", "gpt-4o"],
    ["a chain", RunnableLambda.from((text: string) => text)],
  ])("model: %s", async (_, model) => {
    const { policy } = await setUp({ rules });
    expect(() => govern(model as never, { policy })).toThrow(
      expect.objectContaining({ name: "ConfigError", field: "model" }),
    );
    expect(() => governEmbeddings(model as never, { policy })).toThrow(
      expect.objectContaining({ name: "ConfigError", field: "embeddings" }),
    );
  });

  it("no options at all", async () => {
    const { server } = await setUp({ rules });
    expect(() => govern(chatOn(server), undefined as never)).toThrow("policy: must be a PolicyEngine");
    const embeddings = new OpenAIEmbeddings({ apiKey: "any" });
    expect(() => governEmbeddings(embeddings, undefined as never)).toThrow("policy: must be a PolicyEngine");
  });
});

describe("the labels of a governed call", () => {
  const user = { metadata: { user_id: "ada", other: "x" } };
  const prompt = ChatPromptTemplate.fromMessages([["human", "{input}"]]);
  type Given = Awaited<ReturnType<typeof setUp>>;
  const ways: Readonly<Record<string, (given: Given) => Promise<unknown>>> = {
    invoke: ({ governed }) => governed().invoke("Hi", user),
    stream: async ({ governed }) => collect(await governed().stream("Hi", user)),
    batch: ({ governed }) => governed().batch(["Hi"], user),
    withConfig: ({ governed }) => governed().withConfig(user).invoke("Hi"),
    "streamEvents without a version": ({ governed }) =>
      collect(governed().streamEvents("Hi", user) as unknown as AsyncIterable<unknown>),
    "a chain": ({ governed }) => prompt.pipe(governed()).invoke({ input: "Hi" }, user),
    "a lambda without a config": ({ governed }) =>
      RunnableLambda.from((text: string) => governed().invoke(text)).invoke("Hi", user),
    "an agent": ({ governed }) =>
      createAgent({ model: governed(), tools: [] }).invoke({ messages: [{ role: "user", content: "Hi" }] }, user),
    "the model's own metadata": ({ governed }) => governed(user).invoke("Hi"),
    labels: ({ governed }) => governed({}, { labels: { user_id: "ada" } }).invoke("Hi"),
    withLabels: ({ governed }) => withLabels({ user_id: "ada" }, () => governed().invoke("Hi")),
    "withLabels around a stream": async ({ governed }) =>
      collect(await withLabels({ user_id: "ada" }, () => governed().stream("Hi"))),
  };

  it.each(known(ways))("come from its run: %s", async (way) => {
    const given = await setUp({ rules: [new PerUserBudgetRule({ userBudgets: { ada: 1 } })] });
    const labels: object[] = [];
    given.policy.on("call-settled", (event) => void labels.push(event.labels));
    await ways[way]!(given);
    expect(await spend(given.policy, { user_id: "ada" })).toEqual({ settled: 0.1, held: 0 });
    expect(labels).toHaveLength(1);
    expect(labels[0]).not.toHaveProperty("other");
  });

  it("are not overruled by metadata where they are trusted", async () => {
    const { governed, policy } = await setUp({ rules: [new PerUserBudgetRule({ userBudgets: { ada: 1, eve: 1 } })] });
    const options = { labels: { user_id: "ada" }, trustedLabels: ["user_id"] };
    await governed({}, options).invoke("Hi", { metadata: { user_id: "eve" } });
    expect(await spend(policy, { user_id: "eve" })).toEqual({ settled: 0, held: 0 });
    expect((await spend(policy, { user_id: "ada" })).settled).toBe(0.1);
  });

  it("labelsFrom that throws refuses the call", async () => {
    const labelsFrom = () => {
      throw new Error("no user");
    };
    const { governed, server } = await setUp({ rules });
    expect(await failure(governed({}, { labelsFrom }).invoke("Hi"))).toMatchObject({ field: "labelsFrom" });
    expect(server.requests).toEqual([]);
  });
});

describe("what surrounds a governed call", () => {
  it("its rules are judged with the policy's, in every way to call", async () => {
    const { governed, server } = await setUp({ rules });
    const ambient = { rules: [new MonthlyBudgetRule({ maxUsd: 0, name: "Paused" })] };
    const calls: (() => Promise<unknown>)[] = [
      () => governed().invoke("Hi"),
      () => governed().stream("Hi"),
      () =>
        governed()
          .pipe((message) => message.text)
          .stream("Hi"),
      () => governed().batch(["Hi"]),
    ];
    for (const call of calls) expect(await failure(withAmbient(ambient, call))).toMatchObject({ ruleName: "Paused" });
    expect(server.requests).toEqual([]);
  });

  it("and a call made inside an open governed call never waits for it", async () => {
    const { governed, policy } = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 0.1 })], waitMs: 60_000 });
    let inner: unknown;
    const callbacks = [
      {
        raiseError: true,
        awaitHandlers: true,
        async handleChatModelStart() {
          inner ??= await governed()
            .invoke("inner")
            .catch((error: unknown) => error);
        },
      },
    ];
    await governed().invoke("outer", { callbacks });
    expect(inner).toMatchObject({ ruleName: "MonthlyBudgetRule" });
    expect(await spend(policy)).toEqual({ settled: 0.1, held: 0 });
  });
});
