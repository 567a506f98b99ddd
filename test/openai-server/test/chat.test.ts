import { startOpenAIServer } from "@driftlock/openai-server";
import OpenAI from "openai";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { collect } from "./collect.js";

const server = await startOpenAIServer({ now: () => Date.UTC(2026, 0, 1) });
const openai = new OpenAI({ baseURL: server.url, apiKey: "any", maxRetries: 0 });
const messages = [{ role: "user" as const, content: "How are you?" }];

beforeEach(() => server.reset());
afterAll(() => server.close());

describe("a chat completion", () => {
  it("answers with ten tokens, the dated model and a usage anybody can count", async () => {
    const completion = await openai.chat.completions.create({ model: "gpt-4o", messages });

    expect(completion.model).toBe("gpt-4o-2024-08-06");
    expect(completion.choices[0]).toMatchObject({
      finish_reason: "stop",
      message: { role: "assistant", content: "A local answer: ten tokens on every call" },
    });
    // 12 characters are 3 tokens, and 4 for the message.
    expect(completion.usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 10, total_tokens: 17 });
    expect(completion.created).toBe(Date.UTC(2026, 0, 1) / 1000);
  });

  it("says what the script says, in order, then the default", async () => {
    server.script([{ text: "first" }, { text: '{"second":2}', model: "ft:gpt-4o:acme" }]);
    const ask = () => openai.chat.completions.create({ model: "gpt-4o", messages });

    expect((await ask()).choices[0]!.message.content).toBe("first");
    expect(await ask()).toMatchObject({ model: "ft:gpt-4o:acme", choices: [{ message: { content: '{"second":2}' } }] });
    expect((await ask()).choices[0]!.message.content).toContain("ten tokens");
  });

  it("lets a function look at the request", async () => {
    server.script(({ body, attempt }) => ({ text: `${body.messages?.at(-1)?.content as string} ${attempt}` }));
    const completion = await openai.chat.completions.create({ model: "gpt-4o", messages });
    expect(completion.choices[0]!.message.content).toBe("How are you? 1");
  });

  it.each(["max_tokens", "max_completion_tokens"])("stops at %s", async (maximum) => {
    const completion = await openai.chat.completions.create({ model: "gpt-4o", messages, [maximum]: 4 });
    expect(completion.choices[0]).toMatchObject({ finish_reason: "length", message: { content: "A local answer: " } });
    expect(completion.usage?.completion_tokens).toBe(4);
  });

  it("keeps a scripted usage within the maximum, unless the provider is to break its word", async () => {
    server.script([{ usage: { completionTokens: 900 } }, { usage: { completionTokens: 900 }, ignoreMaximum: true }]);
    const ask = () => openai.chat.completions.create({ model: "gpt-4o", messages, n: 2, max_tokens: 100 });
    expect(await ask()).toMatchObject({
      usage: { completion_tokens: 200 },
      choices: [{ finish_reason: "length" }, {}],
    });
    expect(await ask()).toMatchObject({ usage: { completion_tokens: 900 }, choices: [{ finish_reason: "stop" }, {}] });
  });

  it("gives n choices and bills every one, the prompt once", async () => {
    const completion = await openai.chat.completions.create({ model: "gpt-4o", messages, n: 3 });
    expect(completion.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(completion.usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 30 });
  });

  it("reports cached and reasoning tokens, which share the maximum with the text", async () => {
    server.script({ usage: { promptTokens: 2000, cachedTokens: 1900, reasoningTokens: 60 } });
    const completion = await openai.chat.completions.create({ model: "o3", messages, max_completion_tokens: 64 });
    expect(completion.usage).toMatchObject({
      prompt_tokens: 2000,
      prompt_tokens_details: { cached_tokens: 1900 },
      completion_tokens: 64,
      completion_tokens_details: { reasoning_tokens: 60 },
    });
    expect(completion.choices[0]).toMatchObject({ finish_reason: "length", message: { content: "A local answer: " } });
  });

  it("keeps quiet about usage when told to, and bills it", async () => {
    server.script({ omitUsage: true });
    const completion = await openai.chat.completions.create({ model: "gpt-4o", messages });
    expect(completion.usage).toBeUndefined();
    expect(server.bill[0]!.usage.completionTokens).toBe(10);
  });

  it("counts tool schemas and earlier tool calls as prompt", async () => {
    const tools = [{ type: "function" as const, function: { name: "weather", parameters: {} } }];
    const completion = await openai.chat.completions.create({ model: "gpt-4o", messages, tools });
    const characters = "How are you?".length + JSON.stringify(tools).length;
    expect(completion.usage?.prompt_tokens).toBe(Math.ceil(characters / 4) + 4);
  });

  it("calls tools", async () => {
    server.script({ toolCalls: [{ name: "weather", arguments: { city: "Bonn" } }] });
    const completion = await openai.chat.completions.create({ model: "gpt-4o", messages });
    expect(completion.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: { content: null, tool_calls: [{ function: { name: "weather", arguments: '{"city":"Bonn"}' } }] },
    });
    expect(completion.usage?.completion_tokens).toBe(4);
  });
});

describe("a streamed chat completion", () => {
  it("comes a token a chunk, with the usage at the end when asked for", async () => {
    const stream = await openai.chat.completions.create({
      model: "gpt-4o",
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await collect(stream);

    const pieces = chunks.map((chunk) => chunk.choices[0]?.delta.content).filter(Boolean);
    expect(pieces).toHaveLength(10);
    expect(pieces.join("")).toBe("A local answer: ten tokens on every call");
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe("stop");
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 10 } });
    expect(server.bill).toMatchObject([{ outcome: "completed", streamedTokens: 10 }]);
  });

  it("says nothing of usage when not asked, and bills it", async () => {
    server.script({ chunks: 3 });
    const stream = await openai.chat.completions.create({ model: "gpt-4o", messages, stream: true });
    const chunks = await collect(stream);

    expect(chunks.filter((chunk) => chunk.choices[0]!.delta.content)).toHaveLength(3);
    expect(chunks.every((chunk) => chunk.usage === undefined)).toBe(true);
    expect(server.bill[0]!.usage).toMatchObject({ promptTokens: 7, completionTokens: 10 });
  });

  it("streams tool calls by their arguments", async () => {
    const call = { name: "weather", arguments: { city: "Bonn" } };
    server.script({ text: "Let me look.", toolCalls: [call, call] });
    const runner = openai.chat.completions.stream({ model: "gpt-4o", messages });
    const chunks = await collect(runner);
    const { message, finish_reason } = (await runner.finalChatCompletion()).choices[0]!;

    expect(chunks.filter((chunk) => chunk.choices[0]!.delta.tool_calls)).toHaveLength(2 * (1 + 4));
    expect(finish_reason).toBe("tool_calls");
    expect(message.content).toBe("Let me look.");
    expect(message.tool_calls).toMatchObject([{ function: { arguments: '{"city":"Bonn"}' } }, { type: "function" }]);
  });

  it("streams n choices side by side", async () => {
    const runner = openai.chat.completions.stream({ model: "gpt-4o", messages, n: 2, max_tokens: 4 });
    const { choices } = await runner.finalChatCompletion();
    expect(choices.map(({ message }) => message.content)).toEqual(["A local answer: ", "A local answer: "]);
    expect(server.bill).toMatchObject([{ usage: { completionTokens: 8 }, streamedTokens: 8 }]);
  });
});

describe("a request the provider would not accept", () => {
  it.each([
    ["no messages", { model: "gpt-4o" }, "messages"],
    ["an empty list", { model: "gpt-4o", messages: [] }, "messages"],
    ["max_tokens on a reasoning model", { model: "gpt-5-mini", messages, max_tokens: 9 }, "max_tokens"],
    ["two maxima", { model: "gpt-4o", messages, max_tokens: 9, max_completion_tokens: 9 }, "max_tokens"],
    ["a maximum of 0", { model: "gpt-4o", messages, max_completion_tokens: 0 }, "max_completion_tokens"],
    ["stream options without a stream", { model: "gpt-4o", messages, stream_options: {} }, "stream_options"],
  ])("is refused with 400 and costs nothing: %s", async (_, body, param) => {
    const refused = openai.chat.completions.create(body as never);
    await expect(refused).rejects.toMatchObject({ status: 400, type: "invalid_request_error", param });
    expect(server.bill).toMatchObject([{ outcome: "refused", usage: { promptTokens: 0, completionTokens: 0 } }]);
  });

  it("is refused when it is not JSON, or has no such path", async () => {
    const broken = await fetch(`${server.url}/chat/completions`, { method: "POST", body: "{" });
    expect(broken.status).toBe(400);
    const lost = await fetch(`${server.url}/nowhere`);
    expect(lost.status).toBe(404);
    expect(await lost.json()).toMatchObject({ error: { message: "Invalid URL (GET /v1/nowhere)", code: null } });
  });
});
