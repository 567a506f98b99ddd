import Anthropic, { BadRequestError, InternalServerError, RateLimitError } from "@anthropic-ai/sdk";
import { startOpenAIServer } from "@driftlock/openai-server";
import { ChatAnthropic } from "@langchain/anthropic";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { collect } from "./collect.js";

const server = await startOpenAIServer();
const anthropic = new Anthropic({ baseURL: server.origin, apiKey: "any", maxRetries: 0 });
const messages = [{ role: "user" as const, content: "How are you?" }];
const call = { model: "claude-haiku-4-5", max_tokens: 100, messages };
const weather = { name: "weather", arguments: { city: "Bonn" } };
/** What came in, without cache fields where they are 0. */
const input = { cache_creation_input_tokens: 0, cache_read_input_tokens: 0 };

beforeEach(() => server.reset());
afterAll(() => server.close());

describe("a message", () => {
  it("answers with ten tokens, the dated model and a usage anybody can count", async () => {
    const answer = await anthropic.messages.create(call);
    expect(answer).toMatchObject({
      type: "message",
      role: "assistant",
      model: "claude-haiku-4-5-20251001",
      content: [{ type: "text", text: "A local answer: ten tokens on every call" }],
      stop_reason: "end_turn",
      // 12 characters are 3 tokens, and 4 for the message.
      usage: { ...input, input_tokens: 7, output_tokens: 10 },
    });
    expect(answer._request_id).toBe(server.bill[0]!.id);
    expect(server.bill).toMatchObject([
      { endpoint: "/v1/messages", model: answer.model, outcome: "completed", usage: { promptTokens: 7 } },
    ]);
  });

  it("counts the system prompt, and stops at max_tokens", async () => {
    const answer = await anthropic.messages.create({
      ...call,
      system: [{ type: "text", text: "Be brief" }],
      max_tokens: 4,
    });
    expect(answer).toMatchObject({ stop_reason: "max_tokens", content: [{ text: "A local answer: " }] });
    expect(answer.usage).toMatchObject({ input_tokens: 5 + 2 * 4, output_tokens: 4 });
  });

  it("tells cached input apart from the rest, and bills it with the prompt", async () => {
    server.script({ usage: { promptTokens: 2000, cachedTokens: 1500, cacheWriteTokens: 300 } });
    const { usage } = await anthropic.messages.create(call);
    expect(usage).toMatchObject({
      input_tokens: 200,
      cache_creation_input_tokens: 300,
      cache_read_input_tokens: 1500,
    });
    expect(server.bill[0]!.usage).toMatchObject({ promptTokens: 2000, cachedTokens: 1500, cacheWriteTokens: 300 });
  });

  it("calls tools, with arguments as an object", async () => {
    server.script({ toolCalls: [weather] });
    const answer = await anthropic.messages.create(call);
    expect(answer.stop_reason).toBe("tool_use");
    expect(answer.content).toEqual([
      { type: "tool_use", id: expect.any(String) as string, name: "weather", input: { city: "Bonn" } },
    ]);
  });

  it("is understood by LangChain", async () => {
    server.script([{ toolCalls: [weather] }, { text: "Hi!" }]);
    const model = new ChatAnthropic({
      model: call.model,
      apiKey: "any",
      anthropicApiUrl: server.origin,
      maxRetries: 0,
    });
    const answer = await model.invoke("How are you?");
    expect(answer.tool_calls).toMatchObject([{ name: "weather", args: { city: "Bonn" } }]);
    expect(answer.usage_metadata).toMatchObject({ input_tokens: 7, output_tokens: 4 });
    const chunks = await collect(await model.stream("How are you?"));
    expect(chunks.map(({ text }) => text).join("")).toBe("Hi!");
  });
});

describe("a streamed message", () => {
  it("comes a token an event, the input in its first event and the output in its last", async () => {
    const events = await collect(await anthropic.messages.create({ ...call, stream: true }));
    expect(events[0]).toMatchObject({ type: "message_start", message: { usage: { ...input, input_tokens: 7 } } });
    expect(events.filter(({ type }) => type === "content_block_delta")).toHaveLength(10);
    expect(events.at(-2)).toMatchObject({ type: "message_delta", usage: { output_tokens: 10 } });
    expect(events.at(-1)).toEqual({ type: "message_stop" });
    expect(server.bill).toMatchObject([{ outcome: "completed", streamedTokens: 10 }]);
  });

  it("adds up to the message the SDK makes of it", async () => {
    server.script({ text: "Let me look.", toolCalls: [weather], usage: { cachedTokens: 2 } });
    const answer = await anthropic.messages.stream(call).finalMessage();
    expect(answer.content).toMatchObject([{ text: "Let me look." }, { name: "weather", input: { city: "Bonn" } }]);
    expect(answer.usage).toMatchObject({ input_tokens: 5, cache_read_input_tokens: 2, output_tokens: 7 });
  });

  it("says nothing of usage when told to", async () => {
    server.script({ omitUsage: true });
    const events = await collect(await anthropic.messages.create({ ...call, stream: true }));
    expect(JSON.stringify(events)).not.toContain("_tokens");
  });

  it("that is broken off is billed its prompt and what was streamed", async () => {
    server.script({ hangAfterChunks: 3 });
    let deltas = 0;
    for await (const { type } of await anthropic.messages.create({ ...call, stream: true }))
      if (type === "content_block_delta" && ++deltas === 3) break;
    await server.idle();
    expect(server.bill).toMatchObject([
      { outcome: "aborted", streamedTokens: 3, usage: { promptTokens: 7, completionTokens: 3 } },
    ]);
  });
});

describe("an error of Anthropic's", () => {
  it("comes as Anthropic words it", async () => {
    server.script([{ status: 429 }, { status: 529 }, { status: 500 }]);
    const failure = () => anthropic.messages.create(call).then(undefined, (error: unknown) => error);
    const limited = (await failure()) as RateLimitError;
    expect(limited).toBeInstanceOf(RateLimitError);
    expect(limited).toMatchObject({ type: "rate_limit_error", requestID: server.requests[0]!.id });
    expect(await failure()).toMatchObject({ status: 529, type: "overloaded_error" });
    expect(await failure()).toBeInstanceOf(InternalServerError);
  });

  it("is the answer to a request without a maximum, and costs nothing", async () => {
    const refused = anthropic.messages.create({ model: call.model, messages } as never);
    await expect(refused).rejects.toBeInstanceOf(BadRequestError);
    await expect(refused).rejects.toThrow("max_tokens: Field required");
    expect(server.bill).toMatchObject([{ outcome: "refused", usage: { promptTokens: 0, completionTokens: 0 } }]);
  });
});
