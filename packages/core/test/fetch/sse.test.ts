import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SseReader, type SseEvent } from "../../src/fetch/sse.js";

const read = (text: string): readonly SseEvent[] => new SseReader().read(new Uint8Array(Buffer.from(text))).events;
const frame = (event: object) => `data: ${JSON.stringify(event)}\n\n`;

/** Texts of a model, some made to look like the protocol. */
const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string(),
  fc.constantFrom(
    '"delta":{"content":"',
    '","delta":"',
    '"usage":{"completion_tokens":0}',
    "\\",
    '"}',
    "a\nb",
    "data: {}\n\n",
  ),
);
const usage = fc.constantFrom(undefined, null, { prompt_tokens: 5, completion_tokens: 3 }, {});
const more = fc.dictionary(
  fc.constantFrom("id", "delta", "usage", "logprobs", "x"),
  fc.oneof(text, fc.constant(null)),
  { maxKeys: 2 },
);

/** An event of each protocol with the text it adds. */
const events = fc.oneof(
  fc
    .record({ content: text, usage, more, before: fc.boolean(), choices: fc.integer({ min: 1, max: 2 }) })
    .map(({ content, usage, more, before, choices }) => ({
      event: {
        ...(before && { usage }),
        choices: Array.from({ length: choices }, (_, index) => ({ index, delta: { content, ...more } })),
        ...(!before && { usage }),
      },
      adds: content,
      isPlain: choices === 1 && Object.keys(more).length === 0 && (usage ?? null) === null,
    })),
  text.map((delta) => ({
    event: { type: "response.output_text.delta", item_id: "msg_1", delta, logprobs: [], sequence_number: 7 },
    adds: delta,
    isPlain: true,
  })),
  text.map((added) => ({
    event: { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: added } },
    adds: added,
    isPlain: true,
  })),
);

describe("an event that only adds a text", () => {
  it("is that text; any other event is its object, whatever the model wrote", () =>
    fc.assert(
      fc.property(events, ({ event, adds, isPlain }) => {
        const [read1] = read(frame(event));
        if (typeof read1 === "string") expect([isPlain, read1]).toEqual([true, adds]);
        else expect(read1).toEqual(JSON.parse(JSON.stringify(event)));
      }),
      { numRuns: 2_000 },
    ));

  it("nearly every event of a stream is such, and is not parsed", () => {
    const plain = { id: "1", choices: [{ index: 0, delta: { content: " word" }, finish_reason: null }], usage: null };
    expect(read(frame(plain))).toEqual([" word"]);
    expect(read(frame({ ...plain, usage: { completion_tokens: 5 } }))).toEqual([
      { ...plain, usage: { completion_tokens: 5 } },
    ]);
    expect(read(frame({ type: "response.output_text.delta", delta: "a" }))).toEqual(["a"]);
    expect(read(frame({ type: "content_block_delta", delta: { type: "text_delta", text: "a" } }))).toEqual(["a"]);
    const call = { choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: "{" } }] } }] };
    expect(read(frame(call))).toEqual([call]);
  });
});

describe("events are read as the standard says", () => {
  it.each([
    ["line ends of both kinds", 'data: {"a":1}\r\n\r\ndata: {"b":2}\n\n', [{ a: 1 }, { b: 2 }]],
    ["without a space", 'data:{"a":1}\n\n', [{ a: 1 }]],
    ["data in several lines", 'data: {"a":\ndata: 1}\n\n', [{ a: 1 }]],
    ["other fields and comments", ': hi\nid: 7\nevent: x\ndata: {"a":1}\nretry: 5\n\n', [{ a: 1 }]],
    ["what is no object", "data: [DONE]\n\ndata: 7\n\ndata: {half\n\ndatas: {}\n\n", []],
    ["an event that has not ended", 'data: {"a":1}\n', []],
  ])("%s", (_, stream, expected) => {
    expect(read(stream)).toEqual(expected);
  });

  it("the last one also without an end", () => {
    const reader = new SseReader();
    expect(reader.read(new Uint8Array(Buffer.from('data: {"a":1}\n\ndata: {"b"'))).events).toEqual([{ a: 1 }]);
    expect(reader.read(new Uint8Array(Buffer.from(":2}"))).events).toEqual([]);
    expect(reader.end()).toMatchObject({ events: [{ b: 2 }] });
    expect(reader.end()).toBeUndefined();
  });

  it("one of megabytes, in thousands of pieces, in no time", () => {
    const whole = Buffer.from(frame({ image: "x".repeat(8_000_000) }));
    const reader = new SseReader();
    const start = performance.now();
    let found = 0;
    for (let at = 0; at < whole.length; at += 4_096)
      found += reader.read(new Uint8Array(whole.subarray(at, at + 4_096))).events.length;
    expect(found).toBe(1);
    // Joining them piece by piece takes seconds.
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});
