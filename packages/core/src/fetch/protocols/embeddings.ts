import { usageFromOpenAI } from "../../call/usage-from-openai.js";
import { answeredBy, openAIError, type Protocol } from "./protocol.js";

/** `POST …/embeddings`: input only. */
export const embeddings: Protocol = {
  endpoint: "/embeddings",

  read({ model: _model, input, ...params }) {
    const tokens = tokensIn(input);
    const prompt = tokens === undefined ? { messages: messagesOf(input) } : { inputTokens: tokens };
    return { ...prompt, maxOutputTokens: 0, params };
  },

  write: (body, { model }) => ("model" in body ? { ...body, model } : body),

  hidesUsage: () => false,

  usageOf: ({ usage, model }) => answeredBy(usageFromOpenAI(usage), model),

  usageReader: () => () => undefined,

  errorBody: openAIError,
};

/** Tokens of an input that the client has already cut into tokens: one list of numbers, or several. */
function tokensIn(input: unknown): number | undefined {
  if (!Array.isArray(input) || input.length === 0) return undefined;
  if (input.every(isNumber)) return input.length;
  if (!input.every((list) => Array.isArray(list) && list.every(isNumber))) return undefined;
  return (input as unknown[][]).reduce((sum, { length }) => sum + length, 0);
}

function isNumber(value: unknown): boolean {
  return typeof value === "number";
}

/** Each text as a message of its own; `undefined` without an input, which the policy then refuses. */
function messagesOf(input: unknown): readonly unknown[] | undefined {
  if (input === undefined) return undefined;
  const texts: unknown[] = Array.isArray(input) ? input : [input];
  return texts.map((text) => ({ role: "user", content: typeof text === "string" ? text : [text] }));
}
