import { MonthlyBudgetRule, type Price } from "@driftlock/core";
import { govern } from "@driftlock/langchain";
import type { BillEntry, OpenAIServer, Reply } from "@driftlock/openai-server";
import { BaseLanguageModel } from "@langchain/core/language_models/base";
import { tool } from "@langchain/core/tools";
import type { ChatOpenAI, ChatOpenAIFields } from "@langchain/openai";
import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { billedUsd, chatOn, collect, hurryRetries, setUp } from "./harness.js";

/** Dear enough for a single token to show. */
const price: Price = { inputUsdPerMTok: 200, cacheReadUsdPerMTok: 100, outputUsdPerMTok: 800 };
const prices = { overrides: { "gpt-4o": price, o3: price } };

interface Row {
  readonly replies: Reply | readonly Reply[];
  readonly call: (model: ChatOpenAI, abort: AbortController, server: OpenAIServer) => Promise<unknown>;
  readonly fields?: ChatOpenAIFields;
  /** What is settled: exactly the bill, or an estimate at or above it. */
  readonly settled: "equal" | "covers";
  /** Where a callback handler sees less than was billed: the README says so. */
  readonly unseenByHandler?: true;
}

const invoke = (model: ChatOpenAI) => model.invoke("How are you?");
const stream = async (model: ChatOpenAI) => collect(await model.stream("How are you?"));
const City = z.object({ city: z.string() });
const weather = tool(() => "", { name: "weather", description: "tells", schema: City });

const rows: Readonly<Record<string, Row>> = {
  plain: { replies: {}, call: invoke, settled: "equal" },
  "plain without usage": { replies: { omitUsage: true }, call: invoke, settled: "covers" },
  stream: { replies: {}, call: stream, settled: "equal" },
  "stream without usage": { replies: {}, call: stream, fields: { streamUsage: false }, settled: "covers" },
  "stream of a provider without usage": { replies: { omitUsage: true }, call: stream, settled: "covers" },
  "stream broken off": {
    replies: { chunkDelayMs: 5 },
    call: async (model) => {
      let read = 0;
      for await (const _ of await model.stream("How are you?")) if (++read === 4) break;
    },
    settled: "covers",
  },
  "stream aborted": {
    replies: { hangAfterChunks: 6 },
    call: async (model, abort) => {
      let read = 0;
      for await (const { text } of await model.stream("How are you?", { signal: abort.signal })) {
        if (text !== "" && ++read === 6) abort.abort();
      }
    },
    settled: "covers",
  },
  "stream cut by the network": { replies: { cutAfterChunks: 5 }, call: stream, settled: "covers" },
  "answer cut by the network": { replies: { cutAfterChunks: 0 }, call: invoke, settled: "covers" },
  aborted: {
    replies: { hang: true },
    call: async (model, abort, server) => {
      const asked = model.invoke("How are you?", { signal: abort.signal });
      await Promise.all([asked, server.arrived(1).then(() => abort.abort())]);
    },
    settled: "covers",
  },
  "HTTP 400": { replies: { status: 400 }, call: invoke, settled: "equal" },
  "HTTP 429": { replies: { status: 429 }, call: invoke, settled: "equal" },
  "HTTP 500 that is billed": { replies: { status: 500, usage: {} }, call: invoke, settled: "covers" },
  "HTTP 429, tried again": {
    replies: [{ status: 429, retryAfterMs: 1 }, {}],
    call: invoke,
    fields: { maxRetries: 2 },
    settled: "equal",
  },
  "billed failures, tried again": {
    replies: [{ status: 500, usage: {} }, { status: 500, usage: {} }, {}],
    call: invoke,
    fields: { maxRetries: 2 },
    settled: "covers",
    unseenByHandler: true,
  },
  "a structured answer": {
    replies: { text: '{"city":"Bonn"}' },
    call: (model) => model.withStructuredOutput(City).invoke("Where?"),
    settled: "equal",
  },
  "a structured answer cut short, tried again": {
    replies: [{ text: '{"city":"B', finishReason: "length" }, { text: '{"city":"Bonn"}' }],
    call: (model) => model.withStructuredOutput(City, { method: "jsonSchema" }).invoke("Where?"),
    fields: { maxRetries: 1 },
    settled: "covers",
    unseenByHandler: true,
  },
  "a structured answer that does not parse": {
    replies: { toolCalls: [{ name: "extract", arguments: { town: "Bonn" } }] },
    call: (model) => model.withStructuredOutput(City, { method: "functionCalling" }).invoke("Where?"),
    settled: "equal",
  },
  cached: {
    replies: {},
    call: async (model) => {
      await model.invoke("The same");
      await model.invoke("The same");
    },
    fields: { cache: true },
    settled: "equal",
  },
  "n = 3": { replies: {}, call: invoke, fields: { n: 3 }, settled: "equal" },
  "tool calls": {
    replies: { toolCalls: [{ name: "weather", arguments: { city: "Bonn" } }] },
    call: (model) => model.bindTools([weather]).invoke("Weather?"),
    settled: "equal",
  },
  "tool calls, streamed without usage": {
    replies: { omitUsage: true, toolCalls: [{ name: "weather", arguments: { city: "x".repeat(300) } }] },
    call: async (model) => collect(await model.bindTools([weather]).stream("Weather?")),
    settled: "covers",
  },
  "cached tokens": {
    replies: { usage: { promptTokens: 2000, cachedTokens: 1900, completionTokens: 10 } },
    call: invoke,
    settled: "equal",
  },
  "reasoning tokens": {
    replies: { usage: { reasoningTokens: 60 } },
    call: stream,
    fields: { model: "o3" },
    settled: "equal",
  },
  "a dated model answers": { replies: { model: "gpt-4o-2024-08-06" }, call: invoke, settled: "equal" },
  "responses API": { replies: {}, call: invoke, fields: { useResponsesApi: true }, settled: "equal" },
  "responses API, streamed": { replies: {}, call: stream, fields: { useResponsesApi: true }, settled: "equal" },
};

// LangChain counts tokens itself for `estimatedTokenUsage`, with a tokenizer from the web.
vi.spyOn(BaseLanguageModel.prototype, "getNumTokens").mockResolvedValue(8);

describe.each(["handler", "govern"] as const)("the provider's bill against the ledger, through %s", (entry) => {
  it.each(Object.keys(rows))("%s", async (name) => {
    hurryRetries();
    const { replies, call, fields, settled, unseenByHandler } = rows[name]!;
    const { server, policy, handler } = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 1000 })], prices });
    server.script(replies);
    const own = { maxTokens: 400, ...fields };
    const model =
      entry === "govern"
        ? (govern(chatOn(server, own), { policy }) as unknown as ChatOpenAI)
        : chatOn(server, { ...own, callbacks: [handler] });
    let calls = 0;
    policy.on("call-reserved", () => void calls++);
    const abort = new AbortController();
    await call(model, abort, server).catch(() => undefined);
    await server.idle();
    expect(server.bill.length).toBeGreaterThan(0);
    // What a callback handler is not told of ends with the lease.
    const open = entry === "handler" && name === "stream broken off";
    if (!open) await vi.waitFor(async () => expect((await row(policy)).heldUsd).toBe(0), { timeout: 3_000 });
    const { spentUsd, heldUsd } = await row(policy);
    const bill = billedUsd(server.bill as BillEntry[], price);
    if (entry === "handler" && unseenByHandler) {
      expect(calls).toBeLessThan(server.requests.length);
      return;
    }
    if (settled === "equal") expect(spentUsd).toBe(bill);
    expect(spentUsd + heldUsd).toBeGreaterThanOrEqual(bill);
    // No attempt is unseen; the cache asks and sends nothing.
    if (entry === "govern") expect(calls).toBe(server.requests.length + (name === "cached" ? 1 : 0));
  });
});

async function row(policy: Awaited<ReturnType<typeof setUp>>["policy"]) {
  return (await policy.usage())[0]!;
}
