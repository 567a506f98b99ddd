import {
  BaseRule,
  MaxCostPerRequestRule,
  MonthlyBudgetRule,
  RuleDecision,
  TagBasedModelDowngradeRule,
} from "@driftlock/core";
import { govern, type GovernOptions } from "@driftlock/langchain";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, type ChatOpenAIFields } from "@langchain/openai";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { chatOn, collect, failure, hasModelEvents, setUp as setUpPriced, spend } from "../harness.js";

const out = (usd: number) => ({ inputUsdPerMTok: 0, outputUsdPerMTok: usd });
const prices = {
  overrides: { "gpt-4o": out(1000), "gpt-4o-mini": out(100), o3: out(1000), "gpt-4o-mini-2024-07-18": out(100) },
};
const plenty = new MonthlyBudgetRule({ maxUsd: 100 });
const downgrade = new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "gpt-4o-mini" });
const setUp = (rules: readonly BaseRule[], options = {}) => setUpPriced({ rules, prices, ...options });
const apis: Readonly<Record<string, ChatOpenAIFields>> = {
  "chat completions": {},
  responses: { useResponsesApi: true },
};
const maximum = { "chat completions": "max_tokens", responses: "max_output_tokens" } as Readonly<
  Record<string, string>
>;

describe.each(Object.keys(apis))("the maximum that the policy granted is what is sent: %s", (api) => {
  const field = maximum[api]!;
  const sent = async (rules: readonly BaseRule[], fields: ChatOpenAIFields, options = {}) => {
    const { governed, server } = await setUp(rules, options);
    const model = governed({ ...apis[api], ...fields });
    await model.invoke("Hi");
    await collect(await model.stream("Hi"));
    const [first, second] = server.requests.map(({ body }) => body[field]);
    expect(second).toBe(first);
    return first;
  };

  it("the default where the model has none", async () => {
    expect(await sent([plenty], { maxTokens: undefined })).toBe(4096);
  });
  it("the default of the policy", async () => {
    expect(await sent([plenty], { maxTokens: undefined }, { defaultMaxOutputTokens: 700 })).toBe(700);
  });
  it("what one request may cost", async () => {
    expect(await sent([new MaxCostPerRequestRule({ maxUsd: 0.5 })], { maxTokens: undefined })).toBe(500);
  });
  it("the model's own", async () => {
    expect(await sent([plenty], { maxTokens: 100 })).toBe(100);
  });
  it("less than the model's own, with clamp", async () => {
    expect(await sent([new MaxCostPerRequestRule({ maxUsd: 0.5 })], { maxTokens: 900 }, { clamp: true })).toBe(500);
  });
  it("never less than the model's own without clamp: the call is refused", async () => {
    const { governed, server } = await setUp([new MaxCostPerRequestRule({ maxUsd: 0.5 })]);
    expect(await failure(governed({ ...apis[api], maxTokens: 900 }).invoke("Hi"))).toMatchObject({
      ruleName: "MaxCostPerRequestRule",
    });
    expect(server.requests).toEqual([]);
  });
});

describe("the maximum", () => {
  it("of a reasoning model is max_completion_tokens", async () => {
    const { governed, server } = await setUp([plenty]);
    await governed({ model: "o3", maxTokens: undefined }).invoke("Hi");
    expect(server.requests[0]!.body).toMatchObject({ max_completion_tokens: 16_384 });
    expect(server.requests[0]!.body.max_tokens).toBeUndefined();
  });

  it("in modelKwargs is lowered there", async () => {
    const { governed, server } = await setUp([new MaxCostPerRequestRule({ maxUsd: 0.5 })], { clamp: true });
    await governed({ maxTokens: undefined, modelKwargs: { max_completion_tokens: 900, seed: 1 } }).invoke("Hi");
    expect(server.requests[0]!.body).toMatchObject({ max_completion_tokens: 500, seed: 1 });
    expect(server.requests[0]!.body.max_tokens).toBeUndefined();
  });

  it("never mutates the model: what it sends by itself stays as it was, also while governed calls are under way", async () => {
    const { server, policy } = await setUp([plenty]);
    const own = chatOn(server);
    const governed = govern(own, { policy });
    await Promise.all([...Array(10)].flatMap(() => [governed.invoke("governed"), own.invoke("own")]));
    for (const { body } of server.requests) {
      expect(body.max_tokens).toBe(body.messages![0]!.content === "own" ? undefined : 4096);
    }
  });

  it.each<[string, (model: ReturnType<Awaited<ReturnType<typeof setUp>>["governed"]>) => Promise<unknown>]>([
    ["structured output", (model) => model.withStructuredOutput(z.object({ city: z.string() })).invoke("Hi")],
    ["a forced tool", (model) => model.bindTools!([city], { tool_choice: "city" }).invoke("Hi")],
    ["any tool", (model) => model.bindTools!([city], { tool_choice: "any" }).invoke("Hi")],
  ])("of %s is never lowered: the call is refused", async (_, call) => {
    const { governed, server } = await setUp([new MaxCostPerRequestRule({ maxUsd: 0.5 })], { clamp: true });
    expect(await failure(call(governed({ maxTokens: 900 })))).toMatchObject({ ruleName: "MaxCostPerRequestRule" });
    expect(server.requests).toEqual([]);
  });
});

describe("a downgrade arrives", () => {
  const ways: Readonly<
    Record<string, (server: Awaited<ReturnType<typeof setUp>>["server"]) => GovernOptions["models"]>
  > = {
    "by a record": (server) => ({ "gpt-4o-mini": chatOn(server, { model: "gpt-4o-mini" }) }),
    "by a function": (server) => (model) => chatOn(server, { model }),
    "by a function that takes its time": (server) => async (model) => chatOn(server, { model }),
    "without models: the same model under the other name": () => undefined,
  };

  it.each(Object.keys(ways))("%s, with the same maximum, and costs what it costs", async (way) => {
    const { governed, server, receipts, policy } = await setUp([downgrade, plenty]);
    const model = governed({}, { models: ways[way]!(server) });
    await model.invoke("Hi");
    await collect(await model.stream("Hi"));
    expect(server.requests.map(({ body }) => [body.model, body.max_tokens])).toEqual([
      ["gpt-4o-mini", 100],
      ["gpt-4o-mini", 100],
    ]);
    expect(receipts).toMatchObject([
      { model: "gpt-4o-mini", costUsd: 0.01 },
      { model: "gpt-4o-mini", costUsd: 0.01 },
    ]);
    expect((await spend(policy)).held).toBe(0);
  });

  it("with the tools, the structure and the config that were bound before", async () => {
    const { governed, server } = await setUp([downgrade, plenty]);
    server.script({ toolCalls: [{ name: "city", arguments: { name: "Bonn" } }] });
    await governed().bindTools!([city])
      .withConfig({ tags: ["a"] })
      .invoke("Hi");
    server.script({ text: '{"city":"Bonn"}' });
    const structured = governed().withStructuredOutput(z.object({ city: z.string() }));
    expect(await structured.invoke("Hi")).toEqual({ city: "Bonn" });
    const [first, second] = server.requests;
    expect(first!.body).toMatchObject({ model: "gpt-4o-mini", tools: [{ function: { name: "city" } }] });
    expect(second!.body).toMatchObject({ model: "gpt-4o-mini", response_format: { type: "json_schema" } });
  });

  it("for each call by itself: concurrent calls never see each other's model", async () => {
    const rule = new TagBasedModelDowngradeRule({
      condition: ({ labels }) => labels["user_id"] === "eve",
      downgradeTo: "gpt-4o-mini",
    });
    const { governed, server } = await setUp([rule, plenty]);
    const model = governed();
    const users = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? "ada" : "eve"));
    await Promise.all(users.map((user_id) => model.invoke(user_id, { metadata: { user_id } })));
    for (const { body } of server.requests) {
      expect(body.model).toBe(body.messages![0]!.content === "eve" ? "gpt-4o-mini" : "gpt-4o");
    }
    expect(server.requests).toHaveLength(40);
  });
});

describe("a policy in shadow", () => {
  it("changes nothing of the request, and records what it would have cost", async () => {
    const { governed, server, receipts } = await setUp([downgrade, new MonthlyBudgetRule({ maxUsd: 0 })], {
      mode: "shadow",
    });
    const model = governed({ maxTokens: undefined });
    await model.invoke("Hi");
    await collect(await model.stream("Hi"));
    for (const { body } of server.requests) expect([body.model, body.max_tokens]).toEqual(["gpt-4o", undefined]);
    expect(receipts).toMatchObject([
      { model: "gpt-4o", costUsd: 0.1 },
      { model: "gpt-4o", costUsd: 0.1 },
    ]);
  });
});

describe("what does not arrive is not sent", () => {
  it("a model of `models` that is another one than its name says", async () => {
    const { governed, server, policy } = await setUp([downgrade, plenty]);
    const models = { "gpt-4o-mini": chatOn(server, { model: "gpt-4o" }) };
    for (const call of [governed({}, { models }).invoke("Hi"), governed({}, { models }).stream("Hi")]) {
      expect(await failure(call)).toMatchObject({ name: "ConfigError", field: "model", value: "gpt-4o" });
    }
    expect(server.requests).toEqual([]);
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });

  it.runIf(hasModelEvents)("nor without a callback, in streamEvents without a version", async () => {
    const { governed, server, policy } = await setUp([downgrade, plenty]);
    const models = { "gpt-4o-mini": chatOn(server, { model: "gpt-4o" }) };
    const events = governed({}, { models }).streamEvents("Hi") as unknown as AsyncIterable<unknown>;
    expect(await failure(collect(events))).toMatchObject({ name: "ConfigError", field: "model" });
    expect(server.requests).toEqual([]);
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });

  it("a maximum that the model does not take over", async () => {
    class Stubborn extends ChatOpenAI {
      override invocationParams(options?: this["ParsedCallOptions"]) {
        return { ...super.invocationParams(options), max_tokens: 9000 };
      }
    }
    const { server, policy } = await setUp([plenty, new MaxCostPerRequestRule({ maxUsd: 0.5 })], { clamp: true });
    const fields = { model: "gpt-4o", apiKey: "any", maxRetries: 0, configuration: { baseURL: server.url } };
    const error = await failure(govern(new Stubborn(fields), { policy }).invoke("Hi"));
    expect(error).toMatchObject({ name: "ConfigError", field: "maxOutputTokens", value: 9000 });
    expect(server.requests).toEqual([]);
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });

  it("a downgrade to a name that `models` does not have", async () => {
    const { governed, server, policy } = await setUp([downgrade, plenty]);
    expect(await failure(governed({}, { models: {} }).invoke("Hi"))).toMatchObject({ field: "models.gpt-4o-mini" });
    expect(await failure(governed({}, { models: () => undefined }).invoke("Hi"))).toMatchObject({
      field: 'models("gpt-4o-mini")',
    });
    expect(server.requests).toEqual([]);
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });

  it("a body in place of the request", async () => {
    const { governed, server } = await setUp([plenty]);
    const error = await failure(governed().invoke("Hi", { options: { body: { model: "o1-pro" } } } as never));
    expect(error).toMatchObject({ name: "ConfigError", field: "options.body" });
    expect(server.requests).toEqual([]);
  });

  it("what a rule refuses", async () => {
    class Closed extends BaseRule {
      constructor() {
        super({}, "Closed");
      }
      evaluate() {
        return RuleDecision.block({ reason: "closed" });
      }
    }
    const { governed, server } = await setUp([new Closed()]);
    expect(await failure(governed({ maxRetries: 6 }).invoke("Hi"))).toMatchObject({ ruleName: "Closed" });
    expect(server.requests).toEqual([]);
  });
});

const city = tool(({ name }: { name: string }) => name, {
  name: "city",
  description: "names a city",
  schema: z.object({ name: z.string() }),
});

it("a model that would ask for more answers at once than were granted is not called", async () => {
  const { governed, policy, server } = await setUp([plenty, downgrade]);
  const models = { "gpt-4o-mini": chatOn(server, { model: "gpt-4o-mini", n: 5 }) };
  expect(await failure(governed({}, { models }).invoke("Hi"))).toMatchObject({ name: "ConfigError", field: "n" });
  expect(server.requests).toEqual([]);
  await governed({ n: 5 }, { models }).invoke("Hi");
  expect(server.requests).toHaveLength(1);
  expect((await spend(policy)).held).toBe(0);
});
