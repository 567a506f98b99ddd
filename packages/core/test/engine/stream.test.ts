import { describe, expect, it } from "vitest";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { bench, costing, failure, month, pass, settled, watch } from "./kit.js";

/** 100 tokens of prompt: $0.10 with `flat`. */
const request = { model: "flat", inputTokens: 100, maxOutputTokens: 500 };
const text = (content: string) => ({ choices: [{ delta: { content } }] });
const usage = (completion_tokens: number) => ({ choices: [], usage: { prompt_tokens: 100, completion_tokens } });

/** A provider's stream that notes whether it was closed. */
function provider(chunks: readonly unknown[], error?: unknown) {
  const state = { closed: false, given: 0 };
  async function* stream() {
    try {
      for (const chunk of chunks) {
        state.given++;
        yield chunk;
      }
      if (error !== undefined) throw error;
    } finally {
      state.closed = true;
    }
  }
  return { stream: stream(), state };
}

function policyOf(options = {}) {
  return bench([new MonthlyBudgetRule({ maxUsd: 10 })], options);
}

describe("a stream", () => {
  it("passes through unchanged and is settled by the usage it carries", async () => {
    const { policy } = policyOf();
    const chunks = [text("Hello"), text(" world"), usage(7)];
    const stream = await policy.run(request, () => provider(chunks).stream);
    const seen: unknown[] = [];
    for await (const chunk of stream) {
      seen.push(chunk);
      if (seen.length < 3) expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0.6 });
    }
    expect(seen).toEqual(chunks);
    expect(await month(policy)).toEqual({ spentUsd: 0.107, heldUsd: 0 });
  });

  it("without a usage is settled at the prompt's bound and what was streamed", async () => {
    const { policy } = policyOf();
    const stream = await policy.run(request, () => provider([text("x".repeat(40)), text("y".repeat(43))]).stream);
    for await (const _chunk of stream);
    expect(await month(policy)).toEqual({ spentUsd: 0.12, heldUsd: 0 });
  });

  it("finds the usage where usageOf says, in the last chunk that has one", async () => {
    const { policy } = policyOf();
    const { stream } = provider([{ n: 1 }, { n: 5 }, { end: true }]);
    const usageOf = (chunk: unknown) =>
      (chunk as { n?: number }).n === undefined
        ? undefined
        : { inputTokens: 0, outputTokens: (chunk as { n: number }).n };
    for await (const _chunk of await policy.run(request, () => stream, usageOf));
    expect(await month(policy)).toEqual({ spentUsd: 0.005, heldUsd: 0 });
  });

  it("with a usage that cannot be true is charged its bound", async () => {
    const { policy } = policyOf();
    for await (const _chunk of await policy.run(request, () => provider([text("hi"), usage(-1)]).stream));
    expect(await month(policy)).toEqual({ spentUsd: 0.6, heldUsd: 0 });
  });

  it("goes on when usageOf throws, or a chunk is odd", async () => {
    const { policy } = policyOf();
    const odd = [null, 7, "four", { choices: null }, { choices: [null] }, { choices: [{ delta: null }] }, { delta: 7 }];
    const seen: unknown[] = [];
    for await (const chunk of await policy.run(request, () => provider(odd).stream)) seen.push(chunk);
    expect(seen).toEqual(odd);
    const broken = () => {
      throw new Error("odd");
    };
    for await (const chunk of await policy.run(request, () => provider(odd).stream, broken)) seen.push(chunk);
    expect(seen).toHaveLength(14);
    expect((await month(policy)).heldUsd).toBe(0);
  });
});

describe("what was streamed", () => {
  it.each([
    ["content", { choices: [{ delta: { content: "x".repeat(400) } }] }],
    [
      "several choices",
      { choices: [{ delta: { content: "x".repeat(200) } }, { delta: { content: "y".repeat(200) } }] },
    ],
    [
      "tool calls",
      { choices: [{ delta: { tool_calls: [{ function: { name: "search", arguments: "x".repeat(394) } }] } }] },
    ],
    ["reasoning", { choices: [{ delta: { reasoning_content: "x".repeat(400) } }] }],
    ["a refusal", { choices: [{ delta: { refusal: "x".repeat(400) } }] }],
    ["a completion's text", { choices: [{ text: "x".repeat(400) }] }],
    ["a Responses delta", { type: "response.output_text.delta", delta: "x".repeat(400) }],
    ["an Anthropic delta", { type: "content_block_delta", delta: { type: "text_delta", text: "x".repeat(400) } }],
    [
      "Anthropic tool input",
      { type: "content_block_delta", delta: { type: "input_json_delta", partial_json: "x".repeat(400) } },
    ],
    ["plain text", "x".repeat(400)],
  ])("counts %s at four bytes a token", async (_what, chunk) => {
    const { policy } = policyOf();
    for await (const _chunk of await policy.run(request, () => provider([chunk]).stream));
    expect(await month(policy)).toEqual({ spentUsd: 0.2, heldUsd: 0 });
  });

  it("counts at least one token a chunk, and with a tokenizer its tokens", async () => {
    const many = Array.from({ length: 30 }, () => text("a"));
    const plain = policyOf();
    for await (const _chunk of await plain.policy.run(request, () => provider(many).stream));
    expect(await month(plain.policy)).toEqual({ spentUsd: 0.13, heldUsd: 0 });

    const exact = policyOf({ tokenizer: { count: (words: string) => words.split(" ").length } });
    for await (const _chunk of await exact.policy.run(request, () => provider([text("one two three")]).stream));
    expect(await month(exact.policy)).toEqual({ spentUsd: 0.103, heldUsd: 0 });
  });
});

describe("a stream that is broken off", () => {
  it("is charged its prompt and what was streamed, and the source is closed", async () => {
    const { policy } = policyOf();
    const { stream, state } = provider([text("x".repeat(40)), text("x".repeat(4_000))]);
    for await (const _chunk of await policy.run(request, () => stream)) break;
    expect(state).toEqual({ closed: true, given: 1 });
    expect(await month(policy)).toEqual({ spentUsd: 0.11, heldUsd: 0 });
  });

  it("by an error of the reader, too", async () => {
    const { policy } = policyOf();
    const { stream, state } = provider([text("x".repeat(40)), text("y")]);
    const reader = async () => {
      for await (const _chunk of await policy.run(request, () => stream)) throw new Error("reader");
    };
    expect(await failure(reader())).toMatchObject({ message: "reader" });
    expect(state.closed).toBe(true);
    expect(await month(policy)).toEqual({ spentUsd: 0.11, heldUsd: 0 });
  });

  it("by throw() or return() on the iterator, also before the first chunk", async () => {
    const { policy } = policyOf();
    const first = await policy.run(request, () => provider([text("a")]).stream);
    expect(await first.return!("over")).toEqual({ done: true, value: "over" });
    const second = await policy.run(request, () => provider([text("a")]).stream);
    expect(await failure(second.throw!(new Error("reader")))).toMatchObject({ message: "reader" });
    expect(await month(policy)).toEqual({ spentUsd: 0.2, heldUsd: 0 });
    expect(await first.next()).toEqual({ done: true, value: undefined });
  });

  it("by a source that fails while it is closed", async () => {
    const { policy } = policyOf();
    const source: AsyncIterable<unknown> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false, value: text("hi") }),
        return: () => Promise.reject(new Error("stuck")),
      }),
    };
    for await (const _chunk of await policy.run(request, () => source)) break;
    expect((await month(policy)).heldUsd).toBe(0);
  });
});

describe("a stream that fails", () => {
  const status = (code: number) => Object.assign(new Error(`${code}`), { status: code });

  it("before its first chunk with a 4xx is not billed", async () => {
    const { policy } = policyOf();
    const stream = await policy.run(request, () => provider([], status(429)).stream);
    expect(await failure(stream.next())).toMatchObject({ status: 429 });
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0 });
  });

  it("before its first chunk with anything else is charged its prompt", async () => {
    const { policy } = policyOf();
    const stream = await policy.run(request, () => provider([], status(500)).stream);
    expect(await failure(stream.next())).toMatchObject({ status: 500 });
    expect(await month(policy)).toEqual({ spentUsd: 0.1, heldUsd: 0 });
  });

  it("in the middle is charged what was streamed, whatever the error", async () => {
    const { policy } = policyOf();
    const stream = await policy.run(request, () => provider([text("x".repeat(40))], status(429)).stream);
    await stream.next();
    expect(await failure(stream.next())).toMatchObject({ status: 429 });
    expect(await month(policy)).toEqual({ spentUsd: 0.11, heldUsd: 0 });
  });

  it("after its usage came is charged by it", async () => {
    const { policy } = policyOf();
    const stream = await policy.run(request, () => provider([text("hi"), usage(3)], status(500)).stream);
    await stream.next();
    await stream.next();
    await failure(stream.next());
    expect(await month(policy)).toEqual({ spentUsd: 0.103, heldUsd: 0 });
  });
});

describe("a stream that is aborted", () => {
  it("is charged at once, closed, and does not look like a whole answer", async () => {
    const { policy } = policyOf();
    const controller = new AbortController();
    const { stream, state } = provider([text("x".repeat(40)), text("y")]);
    const metered = await policy.run({ ...request, signal: controller.signal }, () => stream);
    await metered.next();
    controller.abort(new Error("user left"));
    await settled();
    expect(state.closed).toBe(true);
    expect(await month(policy)).toEqual({ spentUsd: 0.11, heldUsd: 0 });
    expect(await failure(metered.next())).toMatchObject({ message: "user left" });
  });

  it("while its reader waits for a provider that hangs is charged all the same", async () => {
    const { policy } = policyOf();
    const controller = new AbortController();
    const hanging: AsyncIterable<unknown> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => undefined),
        return: () => new Promise(() => undefined),
      }),
    };
    const metered = await policy.run({ ...request, signal: controller.signal }, () => hanging);
    watch(metered.next());
    controller.abort();
    await settled();
    expect(await month(policy)).toEqual({ spentUsd: 0.1, heldUsd: 0 });
  });

  it("after its end changes nothing, and leaves no listener on the signal", async () => {
    const { policy } = policyOf();
    const controller = new AbortController();
    const removed: string[] = [];
    const { signal } = controller;
    const remove = signal.removeEventListener.bind(signal);
    signal.removeEventListener = (type: string, ...rest: [never]) => (removed.push(type), remove(type, ...rest));
    const metered = await policy.run({ ...request, signal }, () => provider([usage(3)]).stream);
    for await (const _chunk of metered);
    expect(removed).toEqual(["abort"]);
    controller.abort();
    expect(await metered.next()).toEqual({ done: true, value: undefined });
    expect(await month(policy)).toEqual({ spentUsd: 0.103, heldUsd: 0 });
  });
});

describe("a stream that nobody reads", () => {
  it("is held no longer than its lease, then charged its bound; after maxCallMs it is closed", async () => {
    const { policy, clock } = policyOf({ leaseMs: 3_000, maxCallMs: 60_000 });
    const { stream, state } = provider([text("hi")]);
    await policy.run(request, () => stream);
    await pass(clock, 5_000);
    expect(await month(policy)).toEqual({ spentUsd: 0.6, heldUsd: 0 });
    await pass(clock, 60_000, 500);
    expect((await month(policy)).heldUsd).toBe(0);
    expect((await month(policy)).spentUsd).toBeGreaterThanOrEqual(0.1);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(state.given).toBe(0);
  });

  it("but is still read slowly keeps its hold while a read is under way", async () => {
    const { policy, clock } = policyOf({ leaseMs: 3_000 });
    const controller = new AbortController();
    const slow: AsyncIterable<unknown> = {
      [Symbol.asyncIterator]: () => ({
        next: () =>
          new Promise((resolve) =>
            controller.signal.addEventListener("abort", () => resolve({ done: false, value: text("hi") })),
          ),
      }),
    };
    const metered = await policy.run(request, () => slow);
    const read = metered.next();
    await pass(clock, 30_000, 500);
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0.6 });
    controller.abort();
    await read;
    await metered.return!();
    expect((await month(policy)).spentUsd).toBe(0.101);
  });
});

describe("auth.meter", () => {
  it("does the same by hand", async () => {
    const { policy } = policyOf();
    const auth = await policy.authorize(request);
    for await (const _chunk of auth.meter(provider([usage(20)]).stream));
    expect(await month(policy)).toEqual({ spentUsd: 0.12, heldUsd: 0 });
    expect(await auth.settle()).toMatchObject({ costUsd: 0.12, estimated: false });
  });

  it("says that what it counted itself is an estimate", async () => {
    const { policy } = policyOf();
    const auth = await policy.authorize(costing(0.5));
    for await (const _chunk of auth.meter(provider([text("x".repeat(40))]).stream)) break;
    expect(await auth.settle()).toMatchObject({ costUsd: 0.01, estimated: true });
  });
});
