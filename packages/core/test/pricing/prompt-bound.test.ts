import { countTokens as o200k, countChatCompletionTokens } from "gpt-tokenizer/model/gpt-4o";
import { countTokens as cl100k } from "gpt-tokenizer/model/gpt-4";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { promptBound } from "../../src/pricing/prompt-bound.js";
import { chunkedTokenizer } from "../../src/pricing/tokenizer.js";
import { corpus } from "./corpus.js";

// Slow machines are slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

const plain = { disallowedSpecial: new Set<string>() };
const tokenizer = chunkedTokenizer((text) => o200k(text, plain));
const say = (content: unknown, role = "user") => ({ role, content });
const tokensOf = (content: unknown, model = "gpt-4o") => promptBound({ model, messages: [say(content)] }).tokens;

describe("the bound is never under the truth", () => {
  test.each(Object.entries(corpus))("%s, in o200k and cl100k, as it is and as NFKC", (_, text) => {
    const bound = tokensOf(text);
    for (const read of [text, text.normalize("NFKC")]) {
      expect(bound).toBeGreaterThanOrEqual(o200k(read, plain));
      expect(bound).toBeGreaterThanOrEqual(cl100k(read, plain));
    }
  });

  test.each(Object.entries(corpus))("%s, with a tokenizer", (_, text) => {
    const chat = [say(text, "system"), say(text)];
    expect(promptBound({ model: "gpt-4o", messages: chat }, tokenizer).tokens).toBeGreaterThanOrEqual(
      2 * o200k(text, plain) + 11,
    );
  });

  test("ASCII costs its bytes, other text its UTF-8 bytes or those of its NFKC form", () => {
    const empty = tokensOf("");
    expect(tokensOf("hello") - empty).toBe(5);
    expect(tokensOf("日本") - empty).toBe(6);
    expect(tokensOf("😀") - empty).toBe(4);
    expect(tokensOf("ﷺ") - empty).toBe(33);
    expect(tokensOf("ﷺ".repeat(100)) - empty).toBe(3_300);
    expect(tokensOf("\ud83d") - empty).toBe(3);
  });

  const anyText = fc.oneof(
    fc.string({ unit: "binary", maxLength: 300 }),
    fc.string({ unit: "grapheme", maxLength: 200 }),
    fc.array(fc.nat(0xffff), { maxLength: 200 }).map((units) => String.fromCharCode(...units)),
    fc
      .tuple(fc.constantFrom(...Object.values(corpus)), fc.nat(100), fc.nat(200))
      .map(([text, from, length]) => text.slice(from, from + length)),
  );

  test("property: any Unicode, lone surrogates included", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const bound = tokensOf(text);
        expect(bound).toBeGreaterThanOrEqual(Math.max(o200k(text, plain), cl100k(text, plain)));
        expect(bound).toBeGreaterThanOrEqual(o200k(text.normalize("NFKC"), plain));
      }),
      { numRuns: 2_000 },
    );
  });

  test("property: any chat, with what its template adds", () => {
    const message = fc.record({ role: fc.constantFrom("system", "user", "assistant"), content: anyText });
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 6 }), (messages) => {
        // 3 a message and its role, 3 to prime the answer (OpenAI cookbook, "How to count tokens with tiktoken").
        const truth = messages.reduce((sum, { role, content }) => sum + 3 + o200k(role) + o200k(content, plain), 3);
        expect(promptBound({ model: "gpt-4o", messages }).tokens).toBeGreaterThanOrEqual(truth);
        expect(promptBound({ model: "gpt-4o", messages }, tokenizer).tokens).toBeGreaterThanOrEqual(truth);
        expect(promptBound({ messages }).tokens).toBeGreaterThanOrEqual(truth);
      }),
      { numRuns: 1_000 },
    );
  });

  const name = fc.stringMatching(/^[a-z_]{1,12}$/);
  const note = fc.option(
    fc.oneof(fc.string({ maxLength: 60 }), fc.string({ unit: "grapheme", maxLength: 40 }), fc.constant("a\nb\nc\nd")),
    { nil: undefined },
  );
  const { schema } = fc.letrec<{ schema: object }>((tie) => ({
    schema: fc.oneof(
      { maxDepth: 3, depthSize: "small" },
      fc.record({ type: fc.constantFrom("string", "number", "boolean", "null"), description: note }),
      fc.record({
        type: fc.constant("string"),
        enum: fc.array(fc.string({ maxLength: 4 }), { minLength: 1, maxLength: 12 }),
      }),
      fc.record({ type: fc.constant("array"), items: tie("schema"), description: note }),
      fc.record({
        type: fc.constant("object"),
        description: note,
        required: fc.array(name, { maxLength: 3 }),
        properties: fc.dictionary(name, tie("schema"), { maxKeys: 5 }),
      }),
    ),
  }));
  const definition = fc.record({
    name,
    description: note,
    parameters: fc.record({ type: fc.constant("object"), properties: fc.dictionary(name, schema, { maxKeys: 5 }) }),
  });

  test("property: any tools, as the TypeScript namespace OpenAI writes and as JSON with or without indentation", () => {
    fc.assert(
      fc.property(fc.array(definition, { minLength: 1, maxLength: 4 }), anyText, (functions, content) => {
        const messages = [{ role: "user" as const, content }];
        const tools = functions.map((fn) => ({ type: "function", function: fn }));
        const truth = Math.max(
          countChatCompletionTokens!({ messages, functions: functions as never }),
          ...[undefined, 2, 4].map(
            (indent) => o200k(content, plain) + o200k(JSON.stringify(tools, null, indent), plain) + 7,
          ),
        );
        for (const model of ["gpt-4o", "claude-opus-5", "gemini-2.5-pro", "llama-3.3-70b", undefined]) {
          const request = { messages, ...(model !== undefined && { model }) };
          expect(promptBound({ ...request, tools }).tokens).toBeGreaterThanOrEqual(truth);
          expect(promptBound({ ...request, params: { functions } }).tokens).toBeGreaterThanOrEqual(truth);
          expect(promptBound({ ...request, tools }, tokenizer).tokens).toBeGreaterThanOrEqual(truth);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("everything that reaches the prompt counts", () => {
  const text = "word ".repeat(200);
  const base = promptBound({ model: "gpt-4o", messages: [say("hi")] }).tokens;
  const more = (request: object) => promptBound({ model: "gpt-4o", messages: [say("hi")], ...request }).tokens - base;
  const system = { type: "text", text };

  test.each<[string, object]>([
    ["a system message", { messages: [say(text, "system"), say("hi")] }],
    ["a block-style system message", { messages: [say([system], "system"), say("hi")] }],
    [
      "a block-style system prompt beside the messages",
      { params: { system: [{ ...system, cache_control: { type: "ephemeral" } }] } },
    ],
    ["a system prompt as text", { params: { system: text } }],
    ["instructions", { params: { instructions: text } }],
    ["a Responses input", { params: { input: text } }],
    ["a Responses input of items", { params: { input: [{ role: "user", content: [{ type: "input_text", text }] }] } }],
    [
      "a Responses function output",
      { params: { input: [{ type: "function_call_output", call_id: "c", output: text }] } },
    ],
    ["Gemini contents", { params: { contents: [{ role: "user", parts: [{ text }] }] } }],
    ["Gemini's systemInstruction", { params: { systemInstruction: { parts: [{ text }] } } }],
    ["a completion prompt", { params: { prompt: text } }],
    ["a list of texts as content", { messages: [say([text])] }],
    ["one part as content", { messages: [say({ type: "text", text })] }],
    ["text parts", { messages: [say([{ type: "text", text }])] }],
    ["a name", { messages: [{ ...say("hi"), name: text }] }],
    [
      "arguments of a tool call",
      {
        messages: [
          {
            role: "assistant",
            content: null,
            tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: text } }],
          },
        ],
      },
    ],
    [
      "a legacy function call",
      { messages: [{ role: "assistant", content: null, function_call: { name: "f", arguments: text } }] },
    ],
    ["a tool's answer", { messages: [{ role: "tool", tool_call_id: "1", content: text }] }],
    ["a tool_use block", { messages: [say([{ type: "tool_use", id: "1", name: "f", input: { text } }], "assistant")] }],
    [
      "a tool_result block",
      { messages: [say([{ type: "tool_result", tool_use_id: "1", content: [{ type: "text", text }] }])] },
    ],
    ["thinking sent back", { messages: [say([{ type: "thinking", thinking: text, signature: "s" }], "assistant")] }],
    ["reasoning content sent back", { messages: [{ ...say("hi", "assistant"), reasoning_content: text }] }],
    ["a refusal", { messages: [{ role: "assistant", content: null, refusal: text }] }],
    ["a text document", { messages: [say([{ type: "document", source: { type: "text", data: text } }])] }],
    [
      "a search result",
      { messages: [say([{ type: "search_result", title: "t", source: "s", content: [{ type: "text", text }] }])] },
    ],
    ["a tool's description", { tools: [{ type: "function", function: { name: "f", description: text } }] }],
    [
      "a tool's schema",
      {
        tools: [
          { name: "f", input_schema: { type: "object", properties: { a: { type: "string", description: text } } } },
        ],
      },
    ],
    [
      "a structured output's schema",
      { params: { response_format: { type: "json_schema", json_schema: { schema: { description: text } } } } },
    ],
    [
      "a Responses text format",
      { params: { text: { format: { type: "json_schema", schema: { description: text } } } } },
    ],
    ["a parameter nobody knows yet", { params: { new_prompt_part: text } }],
    ["a field of a message nobody knows yet", { messages: [{ ...say("hi"), aside: { note: text } }] }],
    ["a part nobody knows yet", { messages: [say([{ type: "hologram", caption: text }])] }],
  ])("%s", (_, request) => expect(more(request)).toBeGreaterThanOrEqual(text.length - 2));

  test("each message adds the marks of its template, 6 tokens at least, beside its texts", () => {
    const chat = (count: number) =>
      promptBound({ model: "gpt-4o", messages: Array.from({ length: count }, () => ({ content: "" })) }).tokens;
    expect(chat(301) - chat(1)).toBeGreaterThanOrEqual(300 * 6);
    const parts = (count: number) => tokensOf(Array.from({ length: count }, () => ""));
    expect(parts(301) - parts(1)).toBeGreaterThanOrEqual(300 * 2);
  });

  test.each(["user", "metadata", "stop", "logit_bias"])("%s does not reach it", (name) => {
    expect(
      more({ params: { [name]: { a: text }, temperature: 0.7, stream: true, top_p: 1, seed: undefined, stop: null } }),
    ).toBe(0);
  });

  test("functions and classes among the parameters are not sent and do not harm", () => {
    const circle = new AbortController();
    expect(more({ params: { signal: circle.signal, callbacks: [() => 1], onToken: () => 1 } })).toBe(0);
  });

  test("tools cost what a family adds for them", () => {
    const tools = [{ name: "f", input_schema: { type: "object" } }];
    const cost = (model: string) =>
      promptBound({ model, tools, messages: [] }).tokens - promptBound({ model, messages: [] }).tokens;
    // Anthropic documents up to 530 tokens of tool-use system prompt.
    expect(cost("claude-opus-5")).toBeGreaterThan(530);
    expect(cost("gpt-4o")).toBeLessThan(400);
    const two = promptBound({ model: "claude-opus-5", tools: [...tools, ...tools] }).tokens;
    expect(two - promptBound({ model: "claude-opus-5", tools }).tokens).toBeLessThan(200);
    expect(promptBound({ model: "gpt-4o", tools: [] }).tokens).toBe(promptBound({ model: "gpt-4o" }).tokens);
  });

  test("without a model the dearest family is assumed", () => {
    const request = {
      messages: [say([{ type: "image_url", image_url: { url: "https://x/y.png" } }])],
      tools: [{ name: "f" }],
    };
    for (const model of ["gpt-4o-mini", "gpt-4o", "claude-opus-5", "gemini-2.5-pro", "llama-3"]) {
      expect(promptBound(request).tokens).toBeGreaterThanOrEqual(promptBound({ ...request, model }).tokens);
    }
  });
});

describe("a changed message is counted anew", () => {
  test("content replaced, a part edited in place, a field added", () => {
    const message: Record<string, unknown> = { role: "user", content: "short" };
    const part = { type: "text", text: "short" };
    const bound = () => promptBound({ messages: [message, say([part])] }).tokens;
    const first = bound();
    expect(bound()).toBe(first);
    message["content"] = "longer".repeat(100);
    const second = bound();
    expect(second).toBe(first + 600 - 5);
    part.text = "x".repeat(205);
    expect(bound()).toBe(second + 200);
    message["tool_calls"] = [{ function: { arguments: "y".repeat(300) } }];
    expect(bound()).toBeGreaterThan(second + 500);
  });
});

describe("it is fast", () => {
  test("100 KB of one letter take under 5 ms, also with a letter that is not ASCII", () => {
    for (const letter of ["a", "字", "😀"]) {
      const times = Array.from({ length: 9 }, (_, run) => {
        const content = letter.repeat(Math.floor(100_000 / Buffer.byteLength(letter))) + run;
        const start = performance.now();
        promptBound({ messages: [say(content)] });
        return performance.now() - start;
      });
      // The median of nine fresh texts; measured 0.02 to 0.2 ms.
      expect(times.sort((a, b) => a - b)[4]).toBeLessThan(5);
    }
  });

  test("10 MB of text are counted, not refused", () => {
    expect(tokensOf(`${"x".repeat(10_000_000)}é`)).toBeGreaterThanOrEqual(10_000_002);
  });
});
