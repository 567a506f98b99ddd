import {
  AIMessage,
  AIMessageChunk,
  ChatMessage,
  HumanMessage,
  SystemMessage,
  ToolMessage,
} from "@langchain/core/messages";
import { ChatGenerationChunk, type LLMResult } from "@langchain/core/outputs";
import { describe, expect, it } from "vitest";
import { isAbort } from "../src/translate/abort.js";
import { openAIMessages } from "../src/translate/messages.js";
import { requestFrom } from "../src/translate/request.js";
import { textOfChunk, textOfEvent } from "../src/translate/streamed.js";
import { usageFromResult } from "../src/translate/usage.js";

describe("openAIMessages: everything that can reach the prompt", () => {
  it("roles, texts and names", () => {
    const messages = [
      new SystemMessage("Be brief."),
      new HumanMessage({ content: "Hi", name: "ada" }),
      new AIMessage("Hello"),
      new ChatMessage("Go on", "developer"),
    ];
    expect(openAIMessages(messages)).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hi", name: "ada" },
      { role: "assistant", content: "Hello" },
      { role: "developer", content: "Go on" },
    ]);
  });

  it("tool calls once, as LangChain sends them, and their results", () => {
    const call = { id: "c1", name: "weather", args: { city: "Bonn" } };
    const raw = { id: "c1", type: "function" as const, function: { name: "weather", arguments: '{"city": "Bonn"}' } };
    expect(
      openAIMessages([
        new AIMessage({ content: "", tool_calls: [call], additional_kwargs: { tool_calls: [raw] } }),
        new ToolMessage({ content: "sunny", tool_call_id: "c1" }),
      ]),
    ).toEqual([
      {
        role: "assistant",
        content: "",
        tool_calls: [{ ...raw, function: { name: "weather", arguments: '{"city":"Bonn"}' } }],
      },
      { role: "tool", content: "sunny", tool_call_id: "c1" },
    ]);
  });

  it("images stay parts; a reasoning item goes back to the Responses API", () => {
    const image = { type: "image_url" as const, image_url: { url: "data:image/png;base64,AAAA" } };
    const reasoning = { id: "rs_1", type: "reasoning", summary: [] };
    expect(
      openAIMessages([
        new HumanMessage({ content: [image] }),
        new AIMessage({ content: "So", additional_kwargs: { reasoning } }),
      ]),
    ).toEqual([
      { role: "user", content: [image] },
      { role: "assistant", content: ["So", reasoning] },
    ]);
  });
});

describe("requestFrom: the model and its limits from what will be sent", () => {
  const call = (params: object, llm: object = {}, options: object = {}) =>
    requestFrom({ llm, extraParams: { invocation_params: params, options }, messages: [] }, "fallback");

  it.each([
    [{ model: "gpt-4o", max_tokens: 10 }, 10],
    [{ model: "o3", max_completion_tokens: 20 }, 20],
    [{ model: "gpt-4o", max_output_tokens: 30 }, 30],
    [{ model: "gpt-4o", max_tokens: 10, max_completion_tokens: 40 }, 40],
    [{ model: "llama3.2", num_predict: 50 }, 50],
    [{ model: "m", inferenceConfig: { maxTokens: 60 } }, 60],
    [{ model: "llama3.2", num_predict: -1 }, undefined],
    [{ model: "gpt-4o" }, undefined],
  ])("%o has a maximum of %s", (params, maximum) => {
    expect(call(params)).toMatchObject({ model: params.model });
    expect(call(params).maxOutputTokens).toBe(maximum);
  });

  it("hands on tools, the signal and all other parameters", () => {
    const tools = [{ type: "function", function: { name: "weather" } }];
    const { signal } = new AbortController();
    const params = { model: "gpt-4o", tools, n: 3, response_format: { type: "json_object" }, stop: undefined };
    expect(call(params, {}, { signal })).toEqual({
      model: "gpt-4o",
      messages: [],
      tools,
      signal,
      params: { n: 3, response_format: { type: "json_object" }, stop: undefined },
    });
  });

  it("takes what the handler says before what the model was made with, where the request names no model", () => {
    const gemini = { kwargs: { model: "gemini-2.5-flash", max_output_tokens: 70 } };
    expect(requestFrom({ llm: gemini, extraParams: { invocation_params: {} }, messages: [] })).toMatchObject({
      model: "gemini-2.5-flash",
      maxOutputTokens: 70,
    });
    expect(call({}, gemini).model).toBe("fallback");
    expect(call({ model: "gpt-4o" }, gemini).model).toBe("gpt-4o");
  });

  it("does not believe the default model of an Azure deployment", () => {
    const made = { kwargs: { deployment_name: "ours" } };
    expect(call({ model: "gpt-3.5-turbo" }, made).model).toBe("fallback");
    expect(call({ model: "gpt-4o" }, { kwargs: { deployment_name: "ours", model: "gpt-4o" } }).model).toBe("gpt-4o");
  });

  it("refuses a body in place of the request, and a model nobody names", () => {
    expect(() => call({ model: "gpt-4o" }, {}, { options: { body: {} } })).toThrow("options.body");
    expect(() => call({ model: "gpt-4o" }, {}, { body: {} })).toThrow("options.body");
    expect(() => requestFrom({ llm: undefined, extraParams: undefined, messages: [] })).toThrow(
      "LangChain does not tell which model",
    );
  });
});

describe("usageFromResult", () => {
  const result = (
    usage_metadata: object | undefined,
    rest: { response_metadata?: object; generationInfo?: object; llmOutput?: object } = {},
  ) => {
    const { response_metadata = {}, generationInfo, llmOutput } = rest;
    return {
      generations: [[{ text: "", message: { usage_metadata, response_metadata }, generationInfo }]],
      llmOutput,
    } as unknown as LLMResult;
  };

  it.each<[string, LLMResult, object | undefined]>([
    ["plain", result({ input_tokens: 10, output_tokens: 5, total_tokens: 15 }), { inputTokens: 10, outputTokens: 5 }],
    [
      "cache and reasoning",
      result({
        input_tokens: 10,
        output_tokens: 5,
        input_token_details: { cache_read: 4, cache_creation: 3 },
        output_token_details: { reasoning: 2 },
      }),
      { inputTokens: 10, outputTokens: 5, cacheReadTokens: 4, cacheWriteTokens: 3, reasoningTokens: 2 },
    ],
    [
      "Gemini, whose output leaves thinking out",
      result({ input_tokens: 10, output_tokens: 5, total_tokens: 115 }),
      { inputTokens: 10, outputTokens: 105 },
    ],
    [
      "an output of 0, which is left out",
      result({ input_tokens: 10, total_tokens: 10 }),
      { inputTokens: 10, outputTokens: 0 },
    ],
    [
      "an input without its cached part",
      result({ input_tokens: 10, output_tokens: 5, input_token_details: { cache_read: 90 } }),
      { inputTokens: 100, outputTokens: 5, cacheReadTokens: 90 },
    ],
    [
      "llmOutput alone",
      result(undefined, { llmOutput: { tokenUsage: { promptTokens: 10, completionTokens: 5 } } }),
      { inputTokens: 10, outputTokens: 5 },
    ],
    [
      "metadata before llmOutput",
      result(
        { input_tokens: 1, output_tokens: 1 },
        { llmOutput: { tokenUsage: { promptTokens: 9, completionTokens: 9 } } },
      ),
      { inputTokens: 1, outputTokens: 1 },
    ],
    [
      "an estimate is no usage",
      result({}, { llmOutput: { estimatedTokenUsage: { promptTokens: 4, completionTokens: 4 } } }),
      undefined,
    ],
    ["empty llmOutput", result(undefined, { llmOutput: { tokenUsage: {} } }), undefined],
    ["an input alone", result({ input_tokens: 10 }), undefined],
    [
      "the model that answered",
      result({ input_tokens: 1, output_tokens: 1 }, { response_metadata: { model_name: "gpt-4o-2024-08-06" } }),
      { model: "gpt-4o-2024-08-06" },
    ],
    [
      "the model of the generation",
      result({ input_tokens: 1, output_tokens: 1 }, { generationInfo: { model_name: "o3" } }),
      { model: "o3" },
    ],
    [
      "OpenRouter's cost",
      result({ input_tokens: 1, output_tokens: 1 }, { response_metadata: { usage: { cost: 0.5 } } }),
      { inputTokens: 1, costUsd: 0.5 },
    ],
    ["OpenRouter's cost alone", result(undefined, { response_metadata: { usage: { cost: 0.5 } } }), { costUsd: 0.5 }],
    ["no message", { generations: [[{ text: "" }]] }, undefined],
    ["no generation", { generations: [] }, undefined],
    [
      "a hole, as LangChain leaves for an empty stream",
      { generations: [[undefined]] } as unknown as LLMResult,
      undefined,
    ],
  ])("%s", (_, given, expected) => {
    const usage = usageFromResult(given);
    if (expected === undefined) expect(usage).toBeUndefined();
    else expect(usage).toMatchObject(expected);
  });
});

describe("what a stream says", () => {
  const chunk = (message: ConstructorParameters<typeof AIMessageChunk>[0] & object) =>
    new ChatGenerationChunk({ text: "", message: new AIMessageChunk(message) });

  it("is its tokens, its tool calls and its thinking", () => {
    expect(textOfChunk("Hi", undefined)).toBe("Hi");
    expect(textOfChunk("Hi", chunk({ content: "Hi" }))).toBe("Hi");
    expect(
      textOfChunk("", chunk({ content: "", tool_call_chunks: [{ name: "weather", args: '{"ci', index: 0 }] })),
    ).toBe('weather{"ci');
    expect(textOfChunk("", chunk({ content: "", additional_kwargs: { reasoning_content: "Hm" } }))).toBe("Hm");
    expect(textOfChunk("", chunk({ content: [{ type: "thinking", thinking: "Hm" }] }))).toBe("Hm");
  });

  it("is the deltas of its content-block events", () => {
    const delta = (fields: object) => textOfEvent({ event: "content-block-delta", delta: fields });
    expect([
      delta({ type: "text-delta", text: "a" }),
      delta({ type: "reasoning-delta", reasoning: "b" }),
      delta({ type: "tool-call-delta", args: "c" }),
    ]).toEqual(["a", "b", "c"]);
    expect(textOfEvent({ event: "message-start" })).toBe("");
  });
});

it("isAbort knows aborts and time-outs by name, message and cause", () => {
  const named = (name: string) => Object.assign(new Error("x"), { name });
  for (const name of ["AbortError", "TimeoutError", "ModelAbortError"]) expect(isAbort(named(name))).toBe(true);
  expect(isAbort(new Error("AbortError"))).toBe(true);
  expect(isAbort(new Error("wrapped", { cause: named("AbortError") }))).toBe(true);
  expect(isAbort(new Error("socket hang up"))).toBe(false);
  expect(isAbort("AbortError")).toBe(false);
});
