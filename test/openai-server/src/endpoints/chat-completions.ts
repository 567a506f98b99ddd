import type { Answer } from "../answer.js";
import { type ErrorBody, invalidRequest, missingParameter, tooSmall } from "../error-body.js";
import { isReasoningModel } from "../models.js";
import type { RequestBody } from "../request.js";
import { charactersIn, charactersOfJson, TOKENS_PER_MESSAGE, tokensOf } from "../tokens.js";
import type { Endpoint, Frame } from "./endpoint.js";

/** `POST /v1/chat/completions` */
export const chatCompletions: Endpoint = {
  problem(body) {
    if (body.messages === undefined) return missingParameter("messages");
    if (body.messages.length === 0) {
      return invalidRequest("Invalid 'messages': empty array.", "messages", "empty_array");
    }
    if (body.stream_options && !body.stream) {
      const message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
      return invalidRequest(message, "stream_options");
    }
    return problemWithMaximum(body);
  },

  demand(body) {
    const messages = body.messages ?? [];
    const characters =
      messages.reduce((sum, { content, tool_calls }) => sum + charactersIn(content) + charactersOfJson(tool_calls), 0) +
      charactersOfJson(body.tools) +
      charactersOfJson(body.response_format);
    return {
      promptTokens: tokensOf(characters) + TOKENS_PER_MESSAGE * messages.length,
      maxOutputTokens: body.max_completion_tokens ?? body.max_tokens ?? Number.POSITIVE_INFINITY,
    };
  },

  json(answer) {
    const tool_calls = answer.toolCalls.map(({ id, name, arguments: json }) => ({
      id,
      type: "function",
      function: { name, arguments: json },
    }));
    const message = {
      role: "assistant",
      content: tool_calls.length > 0 && answer.text === "" ? null : answer.text,
      refusal: null,
      ...(tool_calls.length > 0 && { tool_calls }),
    };
    return {
      ...envelope(answer, "chat.completion"),
      choices: everyChoice(answer, (index) => ({ index, message, logprobs: null, finish_reason: answer.finishReason })),
      ...(!answer.omitUsage && { usage: usage(answer) }),
    };
  },

  frames(answer, body) {
    const withUsage = body.stream_options?.include_usage === true && !answer.omitUsage;
    const chunk = (choices: object[], usageNow: object | null = null): object => ({
      ...envelope(answer, "chat.completion.chunk"),
      choices,
      ...(withUsage && { usage: usageNow }),
    });
    const delta = (content: object, finish_reason: string | null = null, isContent = false): Frame[] =>
      everyChoice(answer, (index) => ({
        data: chunk([{ index, delta: content, logprobs: null, finish_reason }]),
        isContent,
      }));

    return [
      ...delta({ role: "assistant", content: "", refusal: null }),
      ...answer.split(answer.text).flatMap((content) => delta({ content }, null, true)),
      ...answer.toolCalls.flatMap(({ id, name, arguments: json }, index) => [
        ...delta({ tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }] }),
        ...answer
          .split(json)
          .flatMap((piece) => delta({ tool_calls: [{ index, function: { arguments: piece } }] }, null, true)),
      ]),
      ...delta({}, answer.finishReason),
      ...(withUsage ? [{ data: chunk([], usage(answer)) }] : []),
      { data: "[DONE]" },
    ];
  },
};

function problemWithMaximum(body: RequestBody): ErrorBody | undefined {
  const { model = "", max_tokens, max_completion_tokens } = body;
  if (typeof max_tokens === "number" && isReasoningModel(model)) {
    const message =
      "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
    return invalidRequest(message, "max_tokens", "unsupported_parameter");
  }
  if (typeof max_tokens === "number" && typeof max_completion_tokens === "number") {
    const message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
    return invalidRequest(message, "max_tokens", "invalid_parameter_combination");
  }
  return tooSmall("max_tokens", max_tokens, 1) ?? tooSmall("max_completion_tokens", max_completion_tokens, 1);
}

function envelope(answer: Answer, object: string): object {
  return {
    id: `chatcmpl-${answer.id}`,
    object,
    created: answer.created,
    model: answer.model,
    service_tier: "default",
    system_fingerprint: null,
  };
}

function everyChoice<T>(answer: Answer, make: (index: number) => T): T[] {
  return Array.from({ length: answer.choices }, (_, index) => make(index));
}

function usage({ usage: billed }: Answer): object {
  return {
    prompt_tokens: billed.promptTokens,
    completion_tokens: billed.completionTokens,
    total_tokens: billed.promptTokens + billed.completionTokens,
    prompt_tokens_details: { cached_tokens: billed.cachedTokens, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: billed.reasoningTokens,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
    ...(billed.costUsd !== undefined && { cost: billed.costUsd }),
  };
}
