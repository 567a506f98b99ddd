import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { governFetch } from "../../src/fetch/index.js";
import { ManualClock } from "../../src/testing/manual-clock.js";
import { failure, pass } from "../engine/kit.js";
import { billedUsd, CLAUDE, collect, FLAT, GPT, inPieces, messages, setUp, spend } from "./kit.js";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

type Sides = Awaited<ReturnType<typeof setUp>>;
interface Options {
  readonly signal?: AbortSignal;
}

/** The streams of each protocol, and whether an event carries text. */
const streams: Record<string, (sides: Sides, options?: Options) => Promise<AsyncIterable<unknown>>> = {
  "chat completions": ({ openai }, options) =>
    openai.chat.completions.create({ model: GPT, messages, max_tokens: 3_000, stream: true }, options),
  Responses: ({ openai }, options) =>
    openai.responses.create({ model: GPT, input: "How are you?", max_output_tokens: 3_000, stream: true }, options),
  messages: ({ anthropic }, options) =>
    anthropic.messages.create({ model: CLAUDE, messages, max_tokens: 3_000, stream: true }, options),
};
const rows = Object.entries(streams);

/** Reads until so many events with text came. */
async function read(stream: AsyncIterable<unknown>, deltas: number): Promise<void> {
  for await (const event of stream) {
    const { type, choices } = event as { type?: string; choices?: { delta: { content?: string } }[] };
    if ((type?.endsWith("delta") || choices?.[0]?.delta.content) && --deltas === 0) break;
  }
}

/** What the call cost: at least what the provider charges, at most its input and twice what was streamed. */
async function expectPartial({ policy, server, receipts }: Sides, streamed: number): Promise<void> {
  expect(receipts).toMatchObject([{ estimated: true }]);
  const { settled, held } = await spend(policy);
  expect(held).toBe(0);
  expect(settled).toBeGreaterThanOrEqual(billedUsd(server.bill));
  // The prompt's bound is under 100 tokens.
  expect(settled).toBeLessThan((100 + 2 * streamed) * 0.001);
  expect(server.bill).toMatchObject([{ streamedTokens: streamed }]);
}

describe("a stream that ends early is charged its input and what was streamed, and the provider is left", () => {
  it.each(rows)("%s, broken off", async (_, open) => {
    const sides = await setUp({ server: { reply: { hangAfterChunks: 4 } } });
    await read(await open(sides), 4);
    await sides.server.idle();
    expect(sides.server.bill).toMatchObject([{ outcome: "aborted" }]);
    await expectPartial(sides, 4);
  });

  it.each(rows)("%s, aborted", async (_, open) => {
    const sides = await setUp({ server: { reply: { hangAfterChunks: 4 } } });
    const controller = new AbortController();
    const stream = await open(sides, { signal: controller.signal });
    const reading = read(stream, 100).catch(() => "aborted");
    for (let turns = 0; sides.server.bill.length === 0 && turns < 50; turns++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (turns === 10) controller.abort();
    }
    await reading;
    await sides.server.idle();
    expect(sides.server.bill).toMatchObject([{ outcome: "aborted" }]);
    await expectPartial(sides, 4);
  });

  it.each(rows)("%s, cut by the provider: the client sees the same error", async (_, open) => {
    const sides = await setUp({ server: { reply: { cutAfterChunks: 4 } } });
    const error = (await failure(open(sides).then((stream) => read(stream, 100)))) as Error;
    expect(String(error)).toContain("terminated");
    await expectPartial(sides, 4);
  });

  it("before its first event costs its input", async () => {
    const { policy, receipts } = await setUp();
    const body = new ReadableStream({ pull: (controller) => controller.error(new Error("cut")) });
    const upstream = new Response(body, { headers: { "content-type": "text/event-stream" } });
    const openai = new OpenAI({ apiKey: "any", fetch: governFetch(policy, { fetch: async () => upstream }) });
    const stream = await openai.responses.create({ model: GPT, input: "Hi", stream: true });
    expect(await failure(read(stream, 1))).toMatchObject({ message: "cut" });
    expect(receipts).toMatchObject([{ estimated: true }]);
    expect(receipts[0]!.costUsd).toBeGreaterThan(0);
    expect(receipts[0]!.costUsd).toBeLessThan(0.1);
  });

  it("before it begins costs its bound: nobody can say what was done for it", async () => {
    const { receipts, server, ...sides } = await setUp({ server: { reply: { cutAfterChunks: 0 } } });
    await failure(streams["Responses"]!({ ...sides, receipts, server }));
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
  });

  it("by an error of its reader", async () => {
    const sides = await setUp({ server: { reply: { hangAfterChunks: 4 } } });
    const mistake = new Error("the reader's own");
    const reading = async () => {
      let seen = 0;
      for await (const { choices } of await sides.openai.chat.completions.create({
        model: GPT,
        messages,
        stream: true,
      }))
        if (choices[0]?.delta.content && ++seen === 4) throw mistake;
    };
    expect(await failure(reading())).toBe(mistake);
    await sides.server.idle();
    await expectPartial(sides, 4);
  });
});

describe("a body that is never read", () => {
  it.each(rows)("%s: charged at the lease's end, closed at maxCallMs", async (_, open) => {
    const clock = new ManualClock();
    const sides = await setUp({
      policy: { clock, leaseMs: 60_000, maxCallMs: 300_000 },
      server: { reply: { hangAfterChunks: 4 } },
    });
    const stream = await open(sides);
    const { held } = await spend(sides.policy);
    expect(held).toBeGreaterThan(3);
    await pass(clock, 70_000, 5_000);
    expect(await spend(sides.policy)).toEqual({ settled: held, held: 0 });
    await pass(clock, 300_000, 5_000);
    await sides.server.idle();
    expect(sides.server.bill).toMatchObject([{ outcome: "aborted" }]);
    expect(sides.receipts).toMatchObject([{ estimated: true }]);
    // Four tokens were on their way when nobody read them: the lease has charged the bound, and the close what was seen.
    expect((await spend(sides.policy)).settled).toBeLessThan(held);
    expect(stream).toBeDefined();
  });

  it("and that nobody holds any more is closed with its stream", async () => {
    const { server, policy, receipts, fetch } = await setUp({ server: { reply: { hangAfterChunks: 4 } } });
    const body = JSON.stringify({ model: GPT, messages, max_tokens: 50, stream: true });
    await (async () => void (await fetch(`${server.url}/chat/completions`, { method: "POST", body })))();
    for (let turns = 0; receipts.length === 0 && turns < 100; turns++) {
      collectGarbage();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(receipts).toMatchObject([{ estimated: true }]);
    await server.idle();
    expect(server.bill).toMatchObject([{ outcome: "aborted" }]);
    expect((await spend(policy)).held).toBe(0);
  });

  it("a whole answer: held, and charged its bound at maxCallMs", async () => {
    const clock = new ManualClock();
    const { policy, receipts, openai } = await setUp({ policy: { clock, leaseMs: 60_000, maxCallMs: 300_000 } });
    const response = await openai.chat.completions.create({ model: GPT, messages, max_tokens: 50 }).asResponse();
    const { held } = await spend(policy);
    await pass(clock, 200_000, 5_000);
    expect(await spend(policy)).toEqual({ settled: 0, held });
    await pass(clock, 120_000, 5_000);
    expect(await spend(policy)).toEqual({ settled: held, held: 0 });
    // Read after all, it is charged what it cost beyond that: nothing.
    expect(await response.json()).toMatchObject({ object: "chat.completion" });
    expect(await spend(policy)).toEqual({ settled: held, held: 0 });
    expect(receipts).toHaveLength(1);
  });
});

describe("a whole answer that does not come through was written all the same: it costs its bound", () => {
  const call = { model: GPT, messages, max_tokens: 50 };

  it("cut by the provider", async () => {
    const { openai, server, receipts } = await setUp({ server: { reply: { cutAfterChunks: 0 } } });
    await failure(openai.chat.completions.create(call));
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
    expect(receipts[0]!.costUsd).toBeGreaterThan(billedUsd(server.bill));
  });

  it.each(["cancelled", "cut in its middle"])("%s", async (way) => {
    const { policy, receipts } = await setUp();
    const type = { headers: { "content-type": "application/json" } };
    const cut = new ReadableStream({
      pull: (controller) =>
        receipts.length === 0 && controller.desiredSize! > 0 ? controller.error(new Error("cut")) : undefined,
    });
    const upstream = () => (way === "cancelled" ? inPieces(['{"usage":', "{}}"], type) : new Response(cut, type));
    const fetch = governFetch(policy, { fetch: async () => upstream() });
    const response = await fetch("http://localhost/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify(call),
    });
    if (way === "cancelled") await response.body!.cancel();
    else expect(await failure(response.json())).toMatchObject({ message: "cut" });
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
  });

  it("without a usage, which is told", async () => {
    const { openai, policy, receipts } = await setUp({ server: { reply: { omitUsage: true } } });
    const told: string[] = [];
    policy.on("usage-invalid", ({ field }) => void told.push(field));
    const answer = await openai.chat.completions.create(call);
    expect(answer.choices[0]!.message.content).toContain("ten tokens");
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
    expect(told).toEqual(["usage"]);
  });

  it("with a usage that cannot be true: the answer is given, the bound charged", async () => {
    const { openai, policy, receipts } = await setUp({ server: { reply: { usage: { promptTokens: -5 } } } });
    const told: string[] = [];
    policy.on("usage-invalid", ({ field }) => void told.push(field));
    await openai.chat.completions.create(call);
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
    expect(told).toEqual(["usage.inputTokens"]);
  });
});

describe("what is streamed counts, whatever it is", () => {
  const call = { model: FLAT, messages, max_tokens: 4_000, stream: true as const };
  const words = (tokens: number) => "word".repeat(tokens);

  it.each(rows)("2,000 tokens of a tool call without a usage: %s", async (_, open) => {
    const sides = await setUp();
    sides.server.script({
      omitUsage: true,
      toolCalls: [{ name: "write", arguments: JSON.stringify({ text: words(1_997) }) }],
    });
    await collect(await open(sides));
    expect(sides.server.bill[0]!.usage.completionTokens).toBe(2_000);
    const { settled } = await spend(sides.policy);
    expect(settled).toBeGreaterThanOrEqual(billedUsd(sides.server.bill));
    expect(settled).toBeGreaterThanOrEqual(2);
    expect(settled).toBeLessThan(2.2);
  });

  it.each([1, 7, 2_000])("2,000 tokens of text without a usage, in %i chunks", async (chunks) => {
    const { openai, policy, server } = await setUp();
    server.script({ omitUsage: true, text: words(2_000), chunks });
    await collect(await openai.chat.completions.create(call));
    expect(await spend(policy)).toEqual({ settled: 2, held: 0 });
  });

  it("each event as one token at least, also when many arrive at once", async () => {
    const { policy } = await setUp();
    const event = (delta: object) => `data: ${JSON.stringify({ choices: [{ index: 0, delta }] })}\n\n`;
    const deltas = [{ content: "a" }, { reasoning_content: "b" }, { reasoning: "c" }, { refusal: "d" }];
    const calls = [{ tool_calls: [{ index: 0, function: { arguments: "e" } }] }, { function_call: { arguments: "f" } }];
    const all = [{ role: "assistant", content: "" }, ...deltas, ...calls].map(event).join("");
    const fetch = governFetch(policy, { fetch: async () => inPieces([all, all.slice(0, 90), all.slice(90)]) });
    const openai = new OpenAI({ apiKey: "any", fetch });
    await collect(await openai.chat.completions.create(call));
    // Twice six events with a letter each.
    expect(await spend(policy)).toEqual({ settled: 0.012, held: 0 });
  });

  it("signs of life and errors are no output", async () => {
    const { policy } = await setUp();
    const events = ['{"type":"ping"}', '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'];
    const delta = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"four"}}';
    const upstream = [events[0]!, delta, events[0]!, events[1]!].map((data) => `event: x\ndata: ${data}\n\n`);
    const fetch = governFetch(policy, { fetch: async () => inPieces(upstream) });
    const body = JSON.stringify({ model: FLAT, messages, max_tokens: 50, stream: true });
    await (await fetch("http://localhost/v1/messages", { method: "POST", body })).text();
    expect(await spend(policy)).toEqual({ settled: 0.001, held: 0 });
  });

  it("a whole stream of a shape nobody knows costs more, not nothing", async () => {
    const { policy } = await setUp();
    const fetch = governFetch(policy, { fetch: async () => inPieces([`data: {"token":"${words(10)}"}\n\n`]) });
    const body = JSON.stringify({ ...call, max_tokens: 50 });
    await (await fetch("http://localhost/v1/chat/completions", { method: "POST", body })).text();
    expect((await spend(policy)).settled).toBeGreaterThanOrEqual(0.01);
  });
});
