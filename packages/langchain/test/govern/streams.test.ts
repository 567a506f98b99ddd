import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { MonthlyBudgetRule } from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";
import { govern, type GovernedChatModel } from "@driftlock/langchain";
import { AIMessageChunk, type UsageMetadata } from "@langchain/core/messages";
import { StringOutputParser } from "@langchain/core/output_parsers";
import { IterableReadableStream } from "@langchain/core/utils/stream";
import { FakeListChatModel } from "@langchain/core/utils/testing";
import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import {
  billedUsd,
  collect,
  failure,
  hasModelEvents,
  known,
  pass,
  perToken,
  setUp as setUpPriced,
  spend,
  tick,
} from "../harness.js";

const setUp = (options = {}) =>
  setUpPriced({
    rules: [new MonthlyBudgetRule({ maxUsd: 10 })],
    prices: { overrides: { "gpt-4o": perToken } },
    ...options,
  });

const schema = { title: "a", type: "object", properties: { a: { type: "string" } } };

/** Streams whose reader can leave. */
const streams: Readonly<
  Record<string, (model: GovernedChatModel, options?: object) => Promise<AsyncIterable<unknown>>>
> = {
  "model.stream": (model, options) => model.stream("Hi", options),
  "chain.stream": (model, options) => model.pipe(new StringOutputParser()).stream("Hi", options),
  "structured.stream": (model, options) => model.withStructuredOutput(schema).stream("Hi", options),
  // It is a promise of the whole message too.
  "streamEvents without a version": async (model, options) => ({
    [Symbol.asyncIterator]: () =>
      (model.streamEvents("Hi", options as never) as unknown as AsyncIterable<unknown>)[Symbol.asyncIterator](),
  }),
};
const say = { text: '{"a":"A local answer: ten tokens"}' };

const breakable = known(streams).filter((way) => !way.startsWith("streamEvents"));
describe.each(breakable)("a reader that breaks out of %s", (way) => {
  it("settles at once at the input and what was streamed, and the provider is cut off", async () => {
    const { governed, policy, server, receipts } = await setUp();
    // So that the reader, not the provider, ends it.
    server.script({ ...say, chunkDelayMs: 20 });
    let read = 0;
    for await (const _ of await streams[way]!(governed())) if (++read === 4) break;
    await vi.waitFor(() => expect(receipts).toHaveLength(1));
    await server.idle();
    expect(server.bill).toMatchObject([{ outcome: "aborted" }]);
    expect(receipts).toMatchObject([{ estimated: true }]);
    expect(receipts[0]!.costUsd).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
    expect(receipts[0]!.costUsd).toBeLessThan(receipts[0]!.heldUsd);
    expect(await spend(policy)).toEqual({ settled: receipts[0]!.costUsd, held: 0 });
  });
});

it.runIf(hasModelEvents)(
  "a reader that leaves streamEvents without a version does not end it: LangChain reads on, and it is settled at its usage",
  async () => {
    const { governed, server, receipts } = await setUp();
    for await (const _ of await streams["streamEvents without a version"]!(governed())) break;
    await vi.waitFor(() => expect(receipts).toHaveLength(1));
    expect(server.bill).toMatchObject([{ outcome: "completed" }]);
    expect(receipts).toMatchObject([{ estimated: false, costUsd: billedUsd(server.bill, perToken) }]);
  },
);

describe("a stream of a provider that falls silent", () => {
  it("ends when its reader leaves: settled, and the provider is cut off", async () => {
    const { governed, policy, server, receipts } = await setUp();
    server.script({ hangAfterChunks: 3 });
    let text = "";
    for await (const chunk of await governed().stream("Hi")) if ((text += chunk.text).length >= 12) break;
    expect(receipts).toMatchObject([{ estimated: true }]);
    expect(receipts[0]!.costUsd).toBeLessThan(receipts[0]!.heldUsd);
    await server.idle();
    expect(server.bill).toMatchObject([{ outcome: "aborted", streamedTokens: 3 }]);
    expect(receipts[0]!.costUsd).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
    expect((await spend(policy)).held).toBe(0);
  });

  it.each(known(streams))("ends when its signal aborts, in %s", async (way) => {
    const time = new ManualClock();
    const { governed, policy, server, receipts } = await setUp({ clock: time });
    server.script({ ...say, hangAfterChunks: 4 });
    const abort = new AbortController();
    const stream = await streams[way]!(governed(), { signal: abort.signal });
    const reading = failure(collect(stream));
    await vi.waitFor(() => expect(server.requests).toHaveLength(1));
    await new Promise((resolve) => setTimeout(resolve, 50));
    abort.abort();
    if (way !== "streamEvents without a version") await reading;
    await server.idle();
    time.advance(1_000);
    await tick();
    await vi.waitFor(() => expect(receipts).toHaveLength(1));
    expect(receipts).toMatchObject([{ estimated: true }]);
    expect(receipts[0]!.costUsd).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
    expect(receipts[0]!.costUsd).toBeLessThan(receipts[0]!.heldUsd);
    expect((await spend(policy)).held).toBe(0);
  });
});

describe("a stream that is cut by the network", () => {
  it.each(known(streams))("is settled at what was streamed, and not tried again: %s", async (way) => {
    const { governed, policy, server, receipts } = await setUp();
    server.script({ ...say, cutAfterChunks: 4 });
    await failure(streams[way]!(governed({ maxRetries: 3 })).then(collect));
    await server.idle();
    expect(server.requests).toHaveLength(1);
    expect(receipts).toMatchObject([{ estimated: true }]);
    expect(receipts[0]!.costUsd).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
    expect(receipts[0]!.costUsd).toBeLessThan(receipts[0]!.heldUsd);
    expect((await spend(policy)).held).toBe(0);
  });
});

it("a structured stream that is cut before its parser had anything to say is not tried again either", async () => {
  const { governed, server, receipts } = await setUp();
  server.script({ ...say, cutAfterChunks: 4 });
  const model = governed({ maxRetries: 3 }).withStructuredOutput(z.object({ a: z.string() }));
  await failure(model.stream("Hi").then(collect));
  expect(server.requests).toHaveLength(1);
  expect(receipts).toHaveLength(1);
});

describe("a stream", () => {
  it("hands every chunk on as it comes", async () => {
    const { governed, server } = await setUp();
    server.script({ hangAfterChunks: 5 });
    const stream = await governed().stream("Hi");
    const texts: string[] = [];
    while (texts.length < 5) {
      const { value } = await stream.next();
      if (value.text !== "") texts.push(value.text);
    }
    expect(texts.join("")).toBe("A local answer: ten ");
    await stream.return();
  });

  it("that is refused rejects before there is a stream", async () => {
    const { governed, server } = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 0 })] });
    expect(await failure(governed().stream("Hi"))).toMatchObject({ ruleName: "MonthlyBudgetRule" });
    expect(server.requests).toEqual([]);
  });

  it("that is never read is settled at what was streamed: when its lease ends, at the latest", async () => {
    const time = new ManualClock();
    const { governed, policy, server } = await setUp({ clock: time });
    server.script({ hangAfterChunks: 3 });
    await governed().stream("Hi");
    expect((await spend(policy)).held).toBeGreaterThan(0);
    await pass(time, 700_000);
    const { settled, held } = await spend(policy);
    expect(held).toBe(0);
    expect(settled).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
  });

  it("that is dropped is settled once its garbage is collected", async () => {
    const { governed, receipts } = await setUp();
    await (async () => void (await governed().stream("Hi")))();
    await vi.waitFor(async () => {
      collectGarbage();
      await tick();
      expect(receipts).toHaveLength(1);
    });
    expect(receipts).toMatchObject([{ estimated: true }]);
    expect(receipts[0]!.costUsd).toBeLessThan(receipts[0]!.heldUsd);
  });
});

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

describe("a model that tells callbacks nothing of its stream", () => {
  class Mute extends FakeListChatModel {
    override async stream() {
      return IterableReadableStream.fromAsyncGenerator(this.#chunks());
    }
    async *#chunks() {
      yield new AIMessageChunk("some ");
      yield new AIMessageChunk({ content: "words", usage_metadata: this.usage });
    }
    usage: UsageMetadata | undefined;
  }
  const setUpMute = async (usage?: UsageMetadata) => {
    const given = await setUp();
    const model = Object.assign(new Mute({ responses: [] }), { usage });
    return { ...given, model: govern(model, { policy: given.policy, model: "gpt-4o" }) };
  };

  it("is settled at the usage in it", async () => {
    const { model, policy } = await setUpMute({ input_tokens: 5, output_tokens: 7, total_tokens: 12 });
    await collect(await model.stream("Hi"));
    expect(await spend(policy)).toEqual({ settled: 0.012, held: 0 });
  });

  it.each(["read to its end", "broken off"])("without a usage, %s: at what was streamed", async (how) => {
    const { model, receipts } = await setUpMute();
    for await (const _ of await model.stream("Hi")) if (how === "broken off") break;
    expect(receipts).toMatchObject([{ estimated: true }]);
    expect(receipts[0]!.costUsd).toBeGreaterThan(0);
  });
});
