import type { Answer } from "../answer.js";
import { type ErrorBody, invalidRequest, tooSmall } from "../error-body.js";
import { charactersIn, charactersOfJson, TOKENS_PER_MESSAGE, tokensOf } from "../tokens.js";
import type { Endpoint, Frame } from "./endpoint.js";

/** `POST /v1/messages`, Anthropic's protocol. */
export const messages: Endpoint = {
  problem(body) {
    if (typeof body.max_tokens !== "number") return invalidRequest("max_tokens: Field required");
    if (body.messages === undefined) return invalidRequest("messages: Field required");
    if (body.messages.length === 0) return invalidRequest("messages: at least one message is required");
    return tooSmall("max_tokens", body.max_tokens, 1);
  },

  demand(body) {
    const list = body.messages ?? [];
    const characters =
      charactersIn(body.system) +
      charactersOfJson(body.tools) +
      list.reduce((sum, { content }) => sum + charactersIn(content), 0);
    return {
      promptTokens: tokensOf(characters) + TOKENS_PER_MESSAGE * (list.length + (body.system ? 1 : 0)),
      maxOutputTokens: body.max_tokens ?? Number.POSITIVE_INFINITY,
    };
  },

  error: (error, status) => ({ type: "error", error: { type: errorType(error, status), message: error.message } }),

  json: (answer) => ({
    ...message(answer, blocksOf(answer)),
    stop_reason: stopReason(answer),
    ...(!answer.omitUsage && { usage: { ...inputUsage(answer), output_tokens: answer.usage.completionTokens } }),
  }),

  frames(answer) {
    const started = {
      ...message(answer, []),
      ...(!answer.omitUsage && { usage: { ...inputUsage(answer), output_tokens: 1 } }),
    };
    const delta = {
      type: "message_delta",
      delta: { stop_reason: stopReason(answer), stop_sequence: null },
      ...(!answer.omitUsage && { usage: { output_tokens: answer.usage.completionTokens } }),
    };
    return [
      event({ type: "message_start", message: started }),
      ...blocksOf(answer).flatMap((block, index) => [
        event({ type: "content_block_start", index, content_block: begun(block) }),
        ...(index === 0 ? [event({ type: "ping" })] : []),
        ...deltasOf(answer, block, index),
        event({ type: "content_block_stop", index }),
      ]),
      event(delta),
      event({ type: "message_stop" }),
    ];
  },
};

type Block =
  | { readonly type: "text"; readonly text: string }
  | {
      readonly type: "tool_use";
      readonly id: string;
      readonly name: string;
      readonly input: unknown;
      readonly json: string;
    };

interface Event {
  readonly type: string;
  readonly [field: string]: unknown;
}

function event(data: Event, isContent = false): Frame {
  return { event: data.type, data, isContent };
}

function blocksOf({ text, toolCalls }: Answer): Block[] {
  const calls = toolCalls.map(({ id, name, arguments: json }): Block => ({
    type: "tool_use",
    id,
    name,
    input: read(json),
    json,
  }));
  return text === "" && calls.length > 0 ? calls : [{ type: "text", text }, ...calls];
}

/** Arguments cut at the maximum are no JSON. */
function read(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return {};
  }
}

function begun(block: Block): object {
  if (block.type === "text") return { type: "text", text: "" };
  return { type: "tool_use", id: block.id, name: block.name, input: {} };
}

function deltasOf(answer: Answer, block: Block, index: number): Frame[] {
  const whole = block.type === "text" ? block.text : block.json;
  return answer.split(whole).map((piece) => {
    const delta =
      block.type === "text" ? { type: "text_delta", text: piece } : { type: "input_json_delta", partial_json: piece };
    return event({ type: "content_block_delta", index, delta }, true);
  });
}

function message(answer: Answer, blocks: readonly Block[]): object {
  const content = blocks.map((block) => {
    if (block.type === "text") return block;
    const { json: _json, ...call } = block;
    return call;
  });
  return {
    id: `msg_${answer.id}`,
    type: "message",
    role: "assistant",
    model: answer.model,
    content,
    stop_reason: null,
    stop_sequence: null,
  };
}

/** Anthropic counts cached input apart from the rest. */
function inputUsage({ usage }: Answer): object {
  const { promptTokens, cachedTokens, cacheWriteTokens = 0 } = usage;
  return {
    input_tokens: promptTokens - cachedTokens - cacheWriteTokens,
    cache_creation_input_tokens: cacheWriteTokens,
    cache_read_input_tokens: cachedTokens,
    service_tier: "standard",
  };
}

function stopReason({ finishReason }: Answer): string {
  const reasons: Readonly<Record<string, string>> = { stop: "end_turn", length: "max_tokens", tool_calls: "tool_use" };
  return reasons[finishReason] ?? finishReason;
}

/** Anthropic's words for the statuses; others are as the script says. */
function errorType({ type }: ErrorBody, status: number): string {
  const types: Readonly<Record<number, string>> = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
  };
  return types[status] ?? type;
}
