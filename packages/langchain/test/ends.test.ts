import { MonthlyBudgetRule, RuleDecision, type PolicyEngineOptions } from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";
import { DriftlockCallbackHandler } from "@driftlock/langchain";
import { HumanMessage } from "@langchain/core/messages";
import { StringOutputParser } from "@langchain/core/output_parsers";
import type { ChatOpenAI } from "@langchain/openai";
import { describe, expect, it, vi } from "vitest";
import { billedUsd, collect, failure, pass, perToken, setUp as setUpPriced, spend, tick } from "./harness.js";

const city = { type: "object", properties: { city: { type: "string" } } };
const setUp = (options: Partial<PolicyEngineOptions> = {}) =>
  setUpPriced({
    rules: [new MonthlyBudgetRule({ maxUsd: 10 })],
    prices: { overrides: { "gpt-4o": perToken } },
    ...options,
  });

describe("a call that was certainly not billed costs nothing and holds nothing", () => {
  it.each([400, 401, 404, 422, 429])("HTTP %d", async (status) => {
    const { chat, policy, server, released } = await setUp();
    server.script({ status });
    expect(await failure(chat().invoke("Hi"))).toMatchObject({ status });
    expect(await failure(chat().stream("Hi").then(collect))).toMatchObject({ status });
    expect(released).toHaveLength(2);
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });

  it("a context that is too long, which LangChain wraps", async () => {
    const { chat, policy, server } = await setUp();
    server.script({
      status: 400,
      error: { code: "context_length_exceeded", message: "This model's maximum context length is 1" },
    });
    expect(String(await failure(chat().invoke("Hi")))).toContain("maximum context length");
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });

  it("a provider that cannot be reached", async () => {
    const { chat, policy, server } = await setUp();
    const model = chat();
    await server.close();
    await failure(model.invoke("Hi"));
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });
});

describe("a call that failed and may have been billed is charged at its bound", () => {
  it.each<[string, (model: ChatOpenAI) => Promise<unknown>, object]>([
    ["HTTP 500", (model) => model.invoke("Hi"), { status: 500, usage: {} }],
    ["an answer lost on the way", (model) => model.invoke("Hi"), { cutAfterChunks: 0 }],
    [
      "a structured answer that was cut short, which LangChain throws away with its usage",
      (model) => model.withStructuredOutput(city, { name: "city", method: "jsonSchema" }).invoke("Hi"),
      { text: '{"city":"B', finishReason: "length" },
    ],
  ])("%s", async (_, call, reply) => {
    const { chat, policy, server, receipts } = await setUp();
    server.script(reply);
    await failure(call(chat()));
    await server.idle();
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
    expect(receipts[0]!.costUsd).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
    expect((await spend(policy)).held).toBe(0);
  });
});

describe("a call that was given up is charged its input and what was streamed", () => {
  it.each<[string, (model: ChatOpenAI, signal: AbortSignal) => Promise<unknown>]>([
    ["invoke", (model, signal) => model.invoke("Hi", { signal })],
    ["stream, before the first token", async (model, signal) => collect(await model.stream("Hi", { signal }))],
    ["a chain", (model, signal) => model.pipe(new StringOutputParser()).invoke("Hi", { signal })],
  ])("aborted: %s", async (_, call) => {
    const { chat, policy, server, receipts } = await setUp();
    server.script({ hang: true });
    const abort = new AbortController();
    const failed = failure(call(chat(), abort.signal));
    await server.arrived(1);
    abort.abort(new Error("the user left"));
    await failed;
    await server.idle();
    await vi.waitFor(() => expect(receipts).toHaveLength(1));
    const [receipt] = receipts;
    expect(receipt).toMatchObject({ estimated: true });
    expect(receipt!.costUsd).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
    expect(receipt!.costUsd).toBeLessThan(receipt!.heldUsd);
    expect((await spend(policy)).held).toBe(0);
  });

  it("timed out", async () => {
    const { chat, policy, server, receipts } = await setUp();
    server.script({ hang: true });
    expect(await failure(chat({ timeout: 50 }).invoke("Hi"))).toMatchObject({ name: "TimeoutError" });
    expect(receipts).toMatchObject([{ estimated: true }]);
    await server.idle();
    expect(receipts[0]!.costUsd).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
    expect(receipts[0]!.costUsd).toBeLessThan(receipts[0]!.heldUsd);
    expect((await spend(policy)).held).toBe(0);
  });

  it.each([
    ["aborted", true],
    ["cut by the provider", false],
  ])("in the middle of a stream, %s", async (_, aborts) => {
    const time = new ManualClock();
    const { chat, policy, server, receipts } = await setUp({ clock: time });
    server.script(aborts ? { hangAfterChunks: 6 } : { cutAfterChunks: 6 });
    const abort = new AbortController();
    let read = 0;
    const failed = failure(
      (async () => {
        for await (const chunk of await chat().stream("Hi", { signal: abort.signal })) {
          if (chunk.text !== "" && ++read === 6 && aborts) abort.abort();
        }
      })(),
    );
    await failed;
    await server.idle();
    await pass(time, 1_000);
    expect(server.bill).toMatchObject([{ streamedTokens: 6 }]);
    expect(receipts).toMatchObject([{ estimated: true }]);
    expect(receipts[0]!.costUsd).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
    expect(receipts[0]!.costUsd).toBeLessThan(receipts[0]!.heldUsd);
    expect((await spend(policy)).held).toBe(0);
  });

  it("an abort while the call waits for room sends nothing and holds nothing", async () => {
    const { chat, policy, server } = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 0.2 })] });
    server.script({ hang: true });
    const first = new AbortController();
    const second = new AbortController();
    const sent = failure(chat().invoke("Hi", { signal: first.signal }));
    await server.arrived(1);
    const waiting = failure(chat().invoke("Hi", { signal: second.signal }));
    await tick();
    second.abort();
    expect(await waiting).toMatchObject({ name: "AbortError" });
    first.abort();
    await sent;
    await server.idle();
    expect(server.requests).toHaveLength(1);
    await vi.waitFor(async () => expect((await spend(policy)).held).toBe(0));
  });
});

describe("what LangChain starts together it sends together or not at all", () => {
  it("one refused prompt gives the others of its generate back", async () => {
    const { chat, policy, server } = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 0.3 })], waitMs: 0 });
    const prompts = Array.from({ length: 5 }, () => [new HumanMessage("Hi")]);
    await failure(chat().generate(prompts));
    expect(server.requests).toEqual([]);
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });

  it("the refusal of one policy gives the hold of another back", async () => {
    const rich = await setUp();
    const poor = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 0 })] });
    const callbacks = [rich.handler, new DriftlockCallbackHandler({ policy: poor.policy })];
    for (const order of [callbacks, callbacks.toReversed()]) {
      await failure(rich.chat({ callbacks: order }).invoke("Hi"));
      expect(await spend(rich.policy)).toEqual({ settled: 0, held: 0 });
    }
    expect(rich.server.requests).toEqual([]);
  });

  it("also when the other policy needs longer to let it go", async () => {
    const poor = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 0 })] });
    let decide = () => {};
    const asked = new Promise<void>((resolve) => (decide = resolve));
    const evaluate = () => asked.then(() => RuleDecision.allow());
    const slow = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 1 }), { name: "Slow", evaluate }] });
    await failure(slow.chat({ callbacks: [slow.handler, poor.handler] }).invoke("Hi"));
    decide();
    await vi.waitFor(() => expect(slow.released).toHaveLength(1));
    expect(await spend(slow.policy)).toEqual({ settled: 0, held: 0 });
  });
});
