import type { UsageReport } from "../../call/open-call.js";
import { maximumIn, withMaximum, withoutMaximums } from "./maximum.js";
import { answeredBy, isJson, type Json, type Protocol } from "./protocol.js";

const maximums = ["max_tokens"] as const;

/** `POST …/v1/messages`, Anthropic's. */
export const messages: Protocol = {
  endpoint: "/messages",

  read(body) {
    const { model: _model, messages: list, system, tools, ...params } = withoutMaximums(body);
    const hasSystem = system !== undefined && system !== null && Array.isArray(list);
    return {
      messages: hasSystem ? [{ role: "system", content: system }, ...(list as unknown[])] : (list as unknown[]),
      tools: (tools ?? undefined) as unknown[] | undefined,
      maxOutputTokens: maximumIn(body, maximums),
      params,
    };
  },

  write(body, { model, maxOutputTokens }) {
    const sent = withMaximum(body, maximums, maxOutputTokens, "max_tokens");
    return "model" in body ? { ...sent, model } : sent;
  },

  hidesUsage: () => false,

  usageOf: ({ usage, model }) => answeredBy(usageFromAnthropic(usage), model),

  /** The input stands in the first event, the output (cumulative, sometimes with the input again) in `message_delta`. */
  usageReader: () => {
    let start: Json = {};
    let model: unknown;
    return ({ type, message, usage }) => {
      if (type === "message_start" && isJson(message)) {
        if (isJson(message["usage"])) start = message["usage"];
        model = message["model"];
      }
      if (type !== "message_delta" || !isJson(usage)) return undefined;
      const told = Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== null));
      return answeredBy(usageFromAnthropic({ ...start, ...told }), model);
    };
  },

  errorBody: (error) => ({ type: "error", error }),
};

/** Anthropic counts cached input apart; here it is part of the input. `undefined` when there is no usage to be read. */
function usageFromAnthropic(usage: unknown): UsageReport | undefined {
  if (!isJson(usage)) return undefined;
  const { input_tokens: fresh, output_tokens: outputTokens } = usage;
  if (fresh === undefined || outputTokens === undefined) return undefined;
  const cacheReadTokens = usage["cache_read_input_tokens"] ?? 0;
  const cacheWriteTokens = usage["cache_creation_input_tokens"] ?? 0;
  const inputTokens = (fresh as number) + (cacheReadTokens as number) + (cacheWriteTokens as number);
  // Some servers send zeros where they count nothing: that is no usage, and the call is not free.
  if (inputTokens === 0 && outputTokens === 0) return undefined;
  // What is no number is found to be none where the usage is checked.
  return { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens } as UsageReport;
}
