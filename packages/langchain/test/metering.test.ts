import { MonthlyBudgetRule } from "@driftlock/core";
import type { Reply } from "@driftlock/openai-server";
import { BaseCache } from "@langchain/core/caches";
import { BaseCallbackHandler } from "@langchain/core/callbacks/base";
import { BaseLanguageModel } from "@langchain/core/language_models/base";
import { tool } from "@langchain/core/tools";
import type { ChatOpenAI, ChatOpenAIFields } from "@langchain/openai";
import { describe, expect, it, vi } from "vitest";
import { billedUsd, collect, failure, hasModelEvents, setUp as setUpPriced, spend } from "./harness.js";

const price = { inputUsdPerMTok: 200, cacheReadUsdPerMTok: 100, outputUsdPerMTok: 800 };
const prices = { overrides: { "gpt-4o": price, o3: price } };
const setUp = () => setUpPriced({ rules: [new MonthlyBudgetRule({ maxUsd: 100 })], prices });

const ways: Readonly<Record<string, (model: ChatOpenAI) => Promise<unknown>>> = {
  invoke: (model) => model.invoke("How are you?"),
  stream: async (model) => collect(await model.stream("How are you?")),
};
const replies: Readonly<Record<string, Reply>> = {
  text: {},
  "cached and reasoning tokens": { usage: { promptTokens: 2000, cachedTokens: 1900, reasoningTokens: 60 } },
  "tool calls": { toolCalls: [{ name: "weather", arguments: { city: "Bonn" } }] },
  "nothing at all": { text: "" },
};
const apis: Readonly<Record<string, ChatOpenAIFields>> = {
  "chat completions": {},
  responses: { useResponsesApi: true },
  "streaming: true": { streaming: true },
};

// LangChain counts tokens itself for `estimatedTokenUsage`, with a tokenizer from the web.
vi.spyOn(BaseLanguageModel.prototype, "getNumTokens").mockResolvedValue(8);

describe.each(Object.keys(apis))("%s", (api) => {
  describe.each(Object.keys(ways))("%s", (way) => {
    it.each(Object.keys(replies))("settles exactly what is billed: %s", async (reply) => {
      const { chat, policy, server, receipts } = await setUp();
      server.script(replies[reply]!);
      await ways[way]!(chat({ maxTokens: 200, ...apis[api] }));
      expect(receipts).toMatchObject([{ estimated: false, costUsd: billedUsd(server.bill, price) }]);
      expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill, price), held: 0 });
    });
  });
});

describe("the usage of a call", () => {
  it("counts all choices of n once, and holds n times the maximum", async () => {
    const { chat, server, receipts } = await setUp();
    server.script({});
    await chat({ n: 3 }).invoke("How are you?");
    expect(server.bill[0]!.usage.completionTokens).toBe(30);
    expect(receipts[0]!.costUsd).toBe(billedUsd(server.bill, price));
    expect(receipts[0]!.heldUsd).toBeGreaterThan(300 * 0.0008);
  });

  it("is priced by the model that answered", async () => {
    const { chat, server, receipts } = await setUp();
    server.script({ model: "o3-2025-04-16", usage: { promptTokens: 10, completionTokens: 10 } });
    await chat({ model: "gpt-4o" }).invoke("Hi");
    expect(receipts).toMatchObject([{ model: "gpt-4o", costUsd: 0.01 }]);
  });

  it("of a reasoning model is bounded by max_completion_tokens", async () => {
    const { chat, server, receipts } = await setUp();
    await chat({ model: "o3", maxTokens: 50 }).invoke("Hi");
    expect(server.requests[0]!.body.max_completion_tokens).toBe(50);
    expect(receipts[0]).toMatchObject({ costUsd: billedUsd(server.bill, price) });
    expect(receipts[0]!.heldUsd).toBeLessThan(0.06);
  });

  it("is OpenRouter's own cost where it is told", async () => {
    const { handler, receipts } = await setUp();
    await start(handler, "gpt-4o");
    const message = {
      usage_metadata: { input_tokens: 5, output_tokens: 5, total_tokens: 10 },
      response_metadata: { usage: { cost: 0.0123 } },
    };
    await handler.handleLLMEnd({ generations: [[{ text: "", message } as never]] }, "run");
    expect(receipts).toMatchObject([{ costUsd: 0.0123, estimated: false }]);
  });

  it("that cannot be true is settled at the bound, told as an event, and never costs the answer", async () => {
    const { handler, policy, receipts } = await setUp();
    const invalid = vi.fn();
    policy.on("usage-invalid", invalid);
    await start(handler, "gpt-4o");
    const message = { usage_metadata: { input_tokens: -5, output_tokens: 5 } };
    await handler.handleLLMEnd({ generations: [[{ text: "", message } as never]] }, "run");
    expect(invalid).toHaveBeenCalledOnce();
    expect(receipts).toMatchObject([{ costUsd: receipts[0]!.heldUsd, estimated: true }]);
  });

  it("that is not told is the bound, never 0", async () => {
    const { chat, server, receipts } = await setUp();
    server.script({ omitUsage: true });
    await chat().invoke("Hi");
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
  });

  it.each([{}, { toolCalls: [{ name: "weather", arguments: { city: "x".repeat(400) } }] }])(
    "of a stream without usage is its input and what was streamed, tool calls too: %o",
    async (reply) => {
      const { chat, server, receipts } = await setUp();
      server.script(reply);
      const weather = tool(() => "", {
        name: "weather",
        description: "tells",
        schema: { type: "object", properties: {} },
      });
      await collect(await chat({ streamUsage: false }).bindTools([weather]).stream("Hi"));
      expect(receipts).toMatchObject([{ estimated: true }]);
      expect(receipts[0]!.costUsd).toBeGreaterThanOrEqual(billedUsd(server.bill, price));
      if (!("toolCalls" in reply)) expect(receipts[0]!.costUsd).toBeLessThan(receipts[0]!.heldUsd);
    },
  );

  it.runIf(hasModelEvents)(
    "is counted when another handler asks for content-block events instead of tokens",
    async () => {
      const { chat, handler, server, receipts } = await setUp();
      server.script({ omitUsage: true });
      const events = Object.assign(BaseCallbackHandler.fromMethods({ handleChatModelStreamEvent() {} }), {
        lc_prefer_chat_model_stream_events: true,
      });
      await chat({ callbacks: [handler, events] }).invoke("Hi");
      expect(receipts).toMatchObject([{ estimated: true }]);
      expect(receipts[0]!.costUsd).toBeGreaterThanOrEqual(billedUsd(server.bill, price));
      expect(receipts[0]!.costUsd).toBeLessThan(receipts[0]!.heldUsd);
    },
  );
});

describe("LangChain's cache", () => {
  it("answers for $0, and what it does not know is metered", async () => {
    const { chat, policy, server, receipts, released } = await setUp();
    const model = chat({ cache: true });
    await model.invoke("Hi");
    const { settled } = await spend(policy);
    await model.invoke("Hi");
    expect(server.requests).toHaveLength(1);
    expect(receipts).toHaveLength(1);
    expect(released).toHaveLength(1);
    expect(await spend(policy)).toEqual({ settled, held: 0 });
  });

  it("that cannot be read costs nothing: nothing was sent", async () => {
    class Broken extends BaseCache {
      override lookup(): never {
        throw new Error("no cache");
      }
      override async update() {}
    }
    const { chat, policy, released } = await setUp();
    await failure(chat({ cache: new Broken() }).invoke("Hi"));
    expect(released).toHaveLength(1);
    expect((await spend(policy)).held).toBe(0);
  });
});

async function start(handler: Awaited<ReturnType<typeof setUp>>["handler"], model: string) {
  await handler.handleChatModelStart({} as never, [[]], "run", undefined, {
    invocation_params: { model, max_tokens: 100 },
  });
}
