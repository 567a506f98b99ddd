import {
  MaxCostPerRequestRule,
  MonthlyBudgetRule,
  TagBasedModelDowngradeRule,
  type BaseRule,
  type Price,
} from "@driftlock/core";
import { govern } from "@driftlock/langchain";
import { ChatAnthropic } from "@langchain/anthropic";
import { AIMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { FakeChatModel, FakeListChatModel, FakeStreamingChatModel } from "@langchain/core/utils/testing";
import { AzureChatOpenAI, ChatOpenAI } from "@langchain/openai";
import { createAgent, initChatModel } from "langchain";
import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { billedUsd, chatOn, collect, failure, known, setUp as setUpPriced, spend } from "../harness.js";

const plenty = new MonthlyBudgetRule({ maxUsd: 100 });
const price: Price = {
  inputUsdPerMTok: 200,
  cacheReadUsdPerMTok: 20,
  cacheWriteUsdPerMTok: 250,
  outputUsdPerMTok: 1000,
};
const claude = "claude-sonnet-4-5";
const prices = { overrides: { "gpt-4o": price, "gpt-4o-mini": price, [claude]: price, "claude-haiku-4-5": price } };
const setUp = (rules: readonly BaseRule[] = [plenty], options = {}) => setUpPriced({ rules, prices, ...options });
const weather = tool(({ city }: { city: string }) => `sunny in ${city}`, {
  name: "weather",
  description: "tells the weather",
  schema: z.object({ city: z.string() }),
});
const say = { messages: [{ role: "user", content: "Weather?" }] };

describe("ChatAnthropic, governed", () => {
  const anthropic = async (rules?: readonly BaseRule[], options = {}) => {
    const given = await setUp(rules, options);
    const own = (fields: object = {}) =>
      new ChatAnthropic({
        model: claude,
        apiKey: "any",
        maxTokens: 100,
        maxRetries: 0,
        clientOptions: { baseURL: given.server.url.replace(/\/v1$/, "") },
        ...fields,
      });
    return { ...given, own, model: (fields: object = {}) => govern(own(fields), { policy: given.policy }) };
  };
  const ways: Readonly<
    Record<string, (model: ReturnType<Awaited<ReturnType<typeof anthropic>>["model"]>) => Promise<unknown>>
  > = {
    invoke: (model) => model.invoke("Hi"),
    stream: async (model) => collect(await model.stream("Hi")),
    "streamEvents without a version": (model) => collect(model.streamEvents("Hi") as unknown as AsyncIterable<unknown>),
    tools: (model) => model.bindTools!([weather]).invoke("Hi"),
    createAgent: (model) => createAgent({ model, tools: [weather] }).invoke(say),
  };

  it.each(known(ways))("%s settles what LangChain reports of the bill", async (way) => {
    const { model, server, receipts, policy } = await anthropic();
    await ways[way]!(model());
    expect(server.requests).toHaveLength(1);
    expect(receipts).toMatchObject([{ estimated: false }]);
    // LangChain adds the token that Anthropic's stream announces at its start to those it tells at its end.
    const announced = way.startsWith("stream") ? 0.001 : 0;
    expect((await spend(policy)).settled).toBeCloseTo(billedUsd(server.bill, price) + announced, 9);
    expect((await spend(policy)).held).toBe(0);
  });

  it("a structure", async () => {
    const { model, server, receipts } = await anthropic();
    server.script({ toolCalls: [{ name: "extract", arguments: { city: "Bonn" } }] });
    const structured = model().withStructuredOutput(z.object({ city: z.string() }), { method: "functionCalling" });
    expect(await structured.invoke("Where?")).toEqual({ city: "Bonn" });
    expect(receipts).toHaveLength(1);
  });

  it("its maximum is lowered with clamp, and nothing else of the request", async () => {
    const { model, own, server } = await anthropic([new MaxCostPerRequestRule({ maxUsd: 0.09 })], {
      clamp: true,
      minOutputTokens: 10,
    });
    await own({ temperature: 0.5 }).invoke("Hi");
    await model({ temperature: 0.5 }).invoke("Hi");
    const [plain, governed] = server.requests.map(({ body }) => body);
    expect(governed!.max_tokens).toBeLessThan(100);
    expect({ ...governed, max_tokens: 100 }).toEqual(plain);
  });

  it("its tools count in what is held", async () => {
    const { model, receipts } = await anthropic();
    const long = tool(() => "", { name: "long", description: "x".repeat(4000), schema: z.object({}) });
    await model().invoke("Hi");
    await model().bindTools!([long]).invoke("Hi");
    expect(receipts[1]!.heldUsd).toBeGreaterThan(receipts[0]!.heldUsd + 0.1);
  });

  it.each(["functionCalling", "jsonSchema"] as const)(
    "its maximum is never lowered for a structure by %s",
    async (method) => {
      const rules = [new MaxCostPerRequestRule({ maxUsd: 0.5 })];
      const { model, server } = await anthropic(rules, { clamp: true, minOutputTokens: 10 });
      const structured = model({ maxTokens: 900 }).withStructuredOutput(z.object({ city: z.string() }), { method });
      expect(await failure(structured.invoke("Hi"))).toMatchObject({ ruleName: "MaxCostPerRequestRule" });
      expect(server.requests).toEqual([]);
    },
  );

  it("is downgraded", async () => {
    const downgrade = new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "claude-haiku-4-5" });
    const { model, server } = await anthropic([downgrade, plenty]);
    await model().invoke("Hi");
    expect(server.requests[0]!.body).toMatchObject({ model: "claude-haiku-4-5", max_tokens: 100 });
  });

  it("is a target of a downgrade from another provider", async () => {
    const downgrade = new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: claude });
    const { own, governed, server } = await anthropic([downgrade, plenty]);
    const model = governed({}, { models: { [claude]: own({ maxTokens: 5000 }) } }).bindTools!([weather]);
    server.script({ toolCalls: [{ name: "weather", arguments: { city: "Bonn" } }] });
    expect((await model.invoke("Hi")).tool_calls).toMatchObject([{ name: "weather" }]);
    expect(server.requests[0]).toMatchObject({ path: "/v1/messages", body: { model: claude, max_tokens: 100 } });
  });

  it("cached tokens are settled at their own prices", async () => {
    const { model, server, receipts } = await anthropic();
    server.script({ usage: { promptTokens: 2000, cachedTokens: 1900, completionTokens: 10 } });
    await model().invoke("Hi");
    expect(receipts).toMatchObject([{ costUsd: billedUsd(server.bill, price), estimated: false }]);
  });
});

describe("AzureChatOpenAI, governed", () => {
  const azure = async (fields: object, name?: string) => {
    const given = await setUp();
    const own = new AzureChatOpenAI({
      azureOpenAIApiKey: "any",
      azureOpenAIApiVersion: "1",
      azureOpenAIBasePath: given.server.url,
      deploymentName: "ours",
      maxRetries: 0,
      ...fields,
    });
    const held: number[] = [];
    given.policy.on("call-reserved", ({ maxOutputTokens }) => void held.push(maxOutputTokens));
    return { ...given, held, model: govern(own, { policy: given.policy, ...(name && { model: name }) }) };
  };

  it("is not priced as the default that LangChain tells", async () => {
    const { model, server } = await azure({});
    expect(await failure(model.invoke("Hi"))).toMatchObject({ name: "ConfigError", field: "model" });
    expect(server.requests).toEqual([]);
  });

  it.each([
    ["its own name", { model: "gpt-4o" }, undefined],
    ["the option", {}, "gpt-4o"],
  ])("by %s it carries the maximum that was granted", async (_, fields, name) => {
    const { model, server, held } = await azure(fields, name);
    // The local server knows no deployments.
    expect(await failure(model.invoke("Hi"))).toMatchObject({ status: 404 });
    expect(server.requests[0]!.path).toContain("/ours/");
    expect(server.requests[0]!.body.max_tokens).toBe(4096);
    expect(held).toEqual([4096]);
  });
});

describe("initChatModel, governed", () => {
  const configurable = async (server: { url: string }, fields: object = {}) =>
    initChatModel("openai:gpt-4o", { apiKey: "any", configuration: { baseURL: server.url }, maxRetries: 0, ...fields });

  it("is resolved first: what the policy granted arrives", async () => {
    const { server, policy } = await setUp();
    const model = govern((await configurable(server)) as never, { policy });
    expect((await model.invoke("Hi")).text).toContain("ten tokens");
    expect((await model.bindTools!([weather]).invoke("Hi")).text).toContain("ten tokens");
    expect(server.requests.map(({ body }) => body.max_tokens)).toEqual([4096, 4096]);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill, price), held: 0 });
  });

  it("goes to the model that the run's config names", async () => {
    const { server, policy, receipts } = await setUp();
    const model = govern((await configurable(server, { configurableFields: ["model"] })) as never, { policy });
    await model.invoke("Hi", { configurable: { model: "gpt-4o-mini" } } as never);
    expect(server.requests[0]!.body).toMatchObject({ model: "gpt-4o-mini", max_tokens: 4096 });
    expect(receipts).toMatchObject([{ model: "gpt-4o-mini" }]);
  });

  it("with tools bound before it was governed carries them", async () => {
    const { server, policy } = await setUp();
    const bound = (await configurable(server)).bindTools([weather]);
    await govern(bound as never, { policy }).invoke("Hi");
    expect(server.requests[0]!.body.tools).toHaveLength(1);
  });
});

describe("LangChain's fakes, governed by a name", () => {
  const fakes: Readonly<
    Record<string, () => InstanceType<typeof FakeListChatModel> | FakeChatModel | FakeStreamingChatModel>
  > = {
    FakeListChatModel: () => new FakeListChatModel({ responses: ["Hello"] }),
    FakeStreamingChatModel: () => new FakeStreamingChatModel({ responses: [new AIMessage("Hello")] }),
  };

  it.each(Object.keys(fakes))("%s answers, streams, and is settled at the bound", async (name) => {
    const { policy, receipts } = await setUp([plenty], { defaultMaxOutputTokens: 300 });
    const model = govern(fakes[name]!(), { policy, model: "gpt-4o" });
    expect((await model.invoke("Hi")).text).toBe("Hello");
    expect((await collect(await model.stream("Hi"))).map(({ text }) => text).join("")).toBe("Hello");
    expect(receipts).toHaveLength(2);
    expect(receipts[0]).toMatchObject({ model: "gpt-4o", estimated: true, costUsd: receipts[0]!.heldUsd });
  });

  it("a fake can be the target of a downgrade", async () => {
    const downgrade = new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "gpt-4o-mini" });
    const { policy, receipts } = await setUp([downgrade, plenty]);
    const models = { "gpt-4o-mini": new FakeListChatModel({ responses: ["small"] }) };
    const model = govern(new FakeListChatModel({ responses: ["large"] }), { policy, model: "gpt-4o", models });
    expect((await model.invoke("Hi")).text).toBe("small");
    expect(receipts).toMatchObject([{ model: "gpt-4o-mini" }]);
  });

  it("without a name it is refused", async () => {
    const { policy } = await setUp();
    const error = await failure(govern(fakes["FakeListChatModel"]!(), { policy }).invoke("Hi"));
    expect(error).toMatchObject({ name: "ConfigError", field: "model" });
  });

  it("has bindTools only where the model has", async () => {
    const { policy, server } = await setUp();
    expect("bindTools" in govern(new FakeChatModel({}), { policy, model: "gpt-4o" })).toBe(false);
    expect("bindTools" in govern(chatOn(server), { policy })).toBe(true);
  });
});

describe("a model that is made again for a call", () => {
  it("keeps what was set on it after it was made", async () => {
    const { server, policy } = await setUp();
    const own = chatOn(server);
    own.temperature = 0.3;
    await govern(own, { policy }).invoke("Hi");
    expect(server.requests[0]!.body).toMatchObject({ temperature: 0.3, max_tokens: 4096 });
  });

  it("keeps its callbacks, tags, metadata and what a config binds", async () => {
    const { server, policy } = await setUp();
    const heard = vi.fn();
    const own = chatOn(server, { tags: ["own"], callbacks: [{ handleLLMEnd: heard }] });
    await govern(own.withConfig({ stop: ["x"] }) as ChatOpenAI, { policy }).invoke("Hi");
    expect(heard).toHaveBeenCalledOnce();
    expect(server.requests[0]!.body.stop).toEqual(["x"]);
  });

  it("sends the same request as before but for the maximum", async () => {
    const { server, policy } = await setUp();
    const fields = {
      temperature: 0.2,
      topP: 0.9,
      user: "ada",
      modelKwargs: { seed: 7 },
      stop: ["x"],
      presencePenalty: 1,
    };
    await chatOn(server, fields).invoke("Hi");
    await govern(chatOn(server, fields), { policy }).invoke("Hi");
    const [plain, governed] = server.requests.map(({ body }) => body);
    expect(governed).toEqual({ ...plain, max_tokens: 4096 });
  });

  it("that cannot be made again is refused, saying what to do", async () => {
    class Odd extends ChatOpenAI {
      constructor(url: string, key: { secret: string }) {
        super({ model: "gpt-4o", apiKey: key.secret, configuration: { baseURL: url } });
      }
    }
    const { server, policy } = await setUp();
    const error = await failure(govern(new Odd(server.url, { secret: "any" }), { policy }).invoke("Hi"));
    expect(error).toMatchObject({ name: "ConfigError", field: "model" });
    expect((error as Error).message).toContain("maxRetries: 0");
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });
});
