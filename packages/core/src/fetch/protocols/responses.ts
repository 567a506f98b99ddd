import { usageFromOpenAI } from "../../call/usage-from-openai.js";
import { maximumIn, withMaximum, withoutMaximums } from "./maximum.js";
import { answeredBy, isJson, openAIError, type Json, type Protocol } from "./protocol.js";

const maximums = ["max_output_tokens"] as const;

/** `POST …/responses`. An answer in the background tells no usage: it is charged at its bound. */
export const responses: Protocol = {
  endpoint: "/responses",

  read(body) {
    const { model: _model, input, instructions, tools, ...params } = withoutMaximums(body);
    const isText = typeof instructions === "string";
    return {
      messages: [...(isText ? [{ role: "system", content: instructions }] : []), ...messagesOf(input)],
      tools: (tools ?? undefined) as unknown[] | undefined,
      maxOutputTokens: maximumIn(body, maximums),
      params: isText ? params : { ...params, instructions },
    };
  },

  write(body, { model, maxOutputTokens }) {
    const sent = withMaximum(body, maximums, maxOutputTokens, "max_output_tokens");
    return "model" in body ? { ...sent, model } : sent;
  },

  hidesUsage: () => false,

  usageOf: answered,

  usageReader:
    () =>
    ({ response }) =>
      isJson(response) ? answered(response) : undefined,

  errorBody: openAIError,
};

function answered({ usage, model }: Json) {
  return answeredBy(usageFromOpenAI(usage), model);
}

/** The input's items; without any the prompt is elsewhere (a stored prompt, a conversation), which `params` tell. */
function messagesOf(input: unknown): readonly unknown[] {
  if (input === undefined || input === null) return [];
  return Array.isArray(input) ? input : [{ role: "user", content: input }];
}
