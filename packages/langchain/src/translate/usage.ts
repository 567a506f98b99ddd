import type { Usage, UsageReport } from "@driftlock/core";
import type { LLMResult } from "@langchain/core/outputs";

type Fields = Readonly<Record<string, unknown>>;

/**
 * What a finished call used; `undefined` when LangChain does not tell. Only the first choice is read: every choice of a
 * message carries the usage of them all. `estimatedTokenUsage`, LangChain's own guess, is not looked at.
 */
export function usageFromResult(result: LLMResult): UsageReport | undefined {
  const [generation] = list(list(result?.generations)[0]);
  const message = fields(generation?.["message"]);
  const response = fields(message["response_metadata"]);
  const usage =
    usageFromMetadata(fields(message["usage_metadata"])) ??
    usageFromOutput(fields(fields(result?.llmOutput)["tokenUsage"]));
  const model = string(response["model_name"]) ?? string(fields(generation?.["generationInfo"])["model_name"]);
  // OpenRouter tells what it charges.
  const { cost: costUsd } = fields(response["usage"]);
  if (typeof costUsd === "number") return { ...usage, ...(model && { model }), costUsd };
  return usage && { ...usage, ...(model && { model }) };
}

/** LangChain's `usage_metadata`. */
function usageFromMetadata(usage: Fields): Usage | undefined {
  const tokens = inAndOut(usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]);
  if (tokens === undefined) return undefined;
  const { cache_read: cacheReadTokens, cache_creation: cacheWriteTokens } = fields(usage["input_token_details"]);
  const { reasoning: reasoningTokens } = fields(usage["output_token_details"]);
  const cached = number(cacheReadTokens) + number(cacheWriteTokens);
  return {
    // More in the cache than in the input: a package that tells the input without it.
    inputTokens: tokens.inputTokens < cached ? tokens.inputTokens + cached : tokens.inputTokens,
    // Likewise for reasoning.
    outputTokens:
      tokens.outputTokens < number(reasoningTokens)
        ? tokens.outputTokens + number(reasoningTokens)
        : tokens.outputTokens,
    ...(typeof cacheReadTokens === "number" && { cacheReadTokens }),
    ...(typeof cacheWriteTokens === "number" && { cacheWriteTokens }),
    ...(typeof reasoningTokens === "number" && { reasoningTokens }),
  };
}

function usageFromOutput({ promptTokens, completionTokens, totalTokens }: Fields): Usage | undefined {
  return inAndOut(promptTokens, completionTokens, totalTokens);
}

/** Thinking that a package leaves out of the output (Gemini) is in the total; an output of 0 may be left out altogether. */
function inAndOut(input: unknown, output: unknown, total: unknown): Usage | undefined {
  if (typeof input !== "number") return undefined;
  const rest = typeof total === "number" ? total - input : undefined;
  if (typeof output !== "number") return rest === undefined ? undefined : { inputTokens: input, outputTokens: rest };
  return { inputTokens: input, outputTokens: Math.max(output, rest ?? 0) };
}

function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

function list(value: unknown): Fields[] {
  return Array.isArray(value) ? (value as Fields[]) : [];
}

function string(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
