/**
 * What a call used, in the meanings of OpenTelemetry's GenAI conventions. Providers with exclusive conventions
 * (Anthropic reports input without cache) are translated at the edge, before they reach this type.
 */
export interface Usage {
  /** Input tokens, cached ones included. */
  readonly inputTokens: number;
  /** Output tokens, reasoning included. */
  readonly outputTokens: number;
  /** Input tokens read from the provider's cache, part of `inputTokens`. */
  readonly cacheReadTokens?: number;
  /** Input tokens written to the provider's cache, part of `inputTokens`. */
  readonly cacheWriteTokens?: number;
  /** Reasoning tokens, part of `outputTokens`. */
  readonly reasoningTokens?: number;
  /** The model that answered, when the provider names it (dated variants). Default: the model that was sent. */
  readonly model?: string;
  /** The provider's own cost of the call in USD. When given it wins over the price book. */
  readonly costUsd?: number;
}

/** More tokens than any call can have: a usage above it is a mistake, not a bill. */
export const MAX_TOKENS = 100_000_000;

const counts = ["inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens", "reasoningTokens"] as const;

/** The fields of a usage as data of their own: what is checked is what is charged. May throw what a getter throws. */
export function readUsage(usage: object): Partial<Usage> {
  const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, reasoningTokens, model, costUsd } =
    usage as Partial<Usage>;
  return {
    inputTokens,
    outputTokens,
    cacheReadTokens,
    cacheWriteTokens,
    reasoningTokens,
    model,
    costUsd,
  } as Partial<Usage>;
}

/** What is wrong with a usage: the field, its value and the sentence for an error; `undefined` when it is sound. */
export function usageProblem(usage: unknown): { field: string; value: unknown; problem: string } | undefined {
  if (typeof usage !== "object" || usage === null) {
    return { field: "usage", value: usage, problem: "must be an object { inputTokens, outputTokens, … }" };
  }
  const given = usage as Record<string, unknown>;
  const cost = given["costUsd"];
  if (cost !== undefined && !(typeof cost === "number" && cost >= 0 && cost <= 1_000_000)) {
    return { field: "usage.costUsd", value: cost, problem: "must be a number of USD from 0 to 1,000,000" };
  }
  const model = given["model"];
  if (model !== undefined && typeof model !== "string") {
    return { field: "usage.model", value: model, problem: "must be a string" };
  }
  for (const name of counts) {
    const value = given[name];
    if (value === undefined && ((name !== "inputTokens" && name !== "outputTokens") || cost !== undefined)) continue;
    if (!Number.isSafeInteger(value) || (value as number) < 0 || (value as number) > MAX_TOKENS) {
      return { field: `usage.${name}`, value, problem: `must be a whole number of tokens from 0 to ${MAX_TOKENS}` };
    }
  }
  const {
    inputTokens = 0,
    outputTokens = 0,
    cacheReadTokens = 0,
    cacheWriteTokens = 0,
    reasoningTokens = 0,
  } = usage as Partial<Usage>;
  if (cacheReadTokens + cacheWriteTokens > inputTokens) {
    return {
      field: "usage.cacheReadTokens",
      value: cacheReadTokens + cacheWriteTokens,
      problem: `cache tokens are part of inputTokens (${inputTokens}) and cannot exceed them`,
    };
  }
  if (reasoningTokens > outputTokens) {
    return {
      field: "usage.reasoningTokens",
      value: reasoningTokens,
      problem: `reasoning tokens are part of outputTokens (${outputTokens}) and cannot exceed them`,
    };
  }
  return undefined;
}
