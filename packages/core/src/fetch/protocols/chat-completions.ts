import { usageFromOpenAI } from "../../call/usage-from-openai.js";
import { isReasoningModel } from "../../domain/model-name.js";
import { maximumIn, withMaximum, withoutMaximums } from "./maximum.js";
import { answeredBy, isJson, openAIError, type Json, type Protocol } from "./protocol.js";

const maximums = ["max_completion_tokens", "max_tokens"] as const;

/** `POST …/chat/completions`, of OpenAI and of everybody who speaks like it. */
export const chatCompletions: Protocol = {
  endpoint: "/chat/completions",

  read(body) {
    const { model: _model, messages, tools, ...params } = withoutMaximums(body);
    return {
      messages: messages as unknown[],
      tools: (tools ?? undefined) as unknown[] | undefined,
      maxOutputTokens: maximumIn(body, maximums),
      params,
    };
  },

  write(body, { model, maxOutputTokens }, { isOpenAI, asksUsage }) {
    const usual = isOpenAI ? "max_completion_tokens" : "max_tokens";
    const sent: Json = withMaximum(renamed(body, model, isOpenAI), maximums, maxOutputTokens, usual);
    return {
      ...sent,
      ...("model" in body && { model }),
      ...(asksUsage && {
        stream_options: { ...(isJson(body["stream_options"]) && body["stream_options"]), include_usage: true },
      }),
    };
  },

  hidesUsage({ stream, stream_options: options }) {
    return stream === true && !(isJson(options) && options["include_usage"] === true);
  },

  usageOf: ({ usage, model }) => answeredBy(usageFromOpenAI(usage), model),

  usageReader:
    () =>
    ({ usage, model }) =>
      answeredBy(usageFromOpenAI(usage), model),

  errorBody: openAIError,
};

/** OpenAI's reasoning models refuse `max_tokens`: a call that a rule moves to one of them carries its maximum by the other name. */
function renamed(body: Json, model: string, isOpenAI: boolean): Json {
  const isMoved = isOpenAI && model !== body["model"] && isReasoningModel(model);
  if (!isMoved || typeof body["max_tokens"] !== "number" || body["max_completion_tokens"] !== undefined) return body;
  const { max_tokens, ...rest } = body;
  return { ...rest, max_completion_tokens: max_tokens };
}
