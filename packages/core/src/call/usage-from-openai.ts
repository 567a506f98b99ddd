import type { Usage } from "../domain/usage.js";

/**
 * The usage of an OpenAI-shaped answer (chat completions or Responses), whose conventions are inclusive: cached tokens are
 * part of the input, reasoning of the output. `undefined` when there is none, or none that can be read. OpenRouter's own `cost` (USD) is taken over.
 */
export function usageFromOpenAI(usage: unknown): Usage | undefined {
  if (typeof usage !== "object" || usage === null) return undefined;
  try {
    return inclusive(usage);
  } catch {
    // A getter or a proxy of the host's that fails: as good as no usage, and no reason to lose the answer.
    return undefined;
  }
}

function inclusive(usage: object): Usage | undefined {
  const raw = usage as Record<string, unknown>;
  const inputTokens = raw["prompt_tokens"] ?? raw["input_tokens"];
  const given = raw["completion_tokens"] ?? raw["output_tokens"];
  if (inputTokens === undefined && given === undefined) return undefined;
  // Embeddings have no output, and say so only by their total.
  const outputTokens = given ?? (raw["total_tokens"] === inputTokens ? 0 : undefined);
  const input = details(raw, "prompt_tokens_details", "input_tokens_details");
  const output = details(raw, "completion_tokens_details", "output_tokens_details");
  const cacheReadTokens = input["cached_tokens"];
  const reasoningTokens = output["reasoning_tokens"];
  const costUsd = costOf(raw);
  // Some servers send zeros where they count nothing: that is no usage, and the call is not free.
  if (inputTokens === 0 && outputTokens === 0 && costUsd === undefined) return undefined;
  return {
    inputTokens,
    outputTokens,
    ...(typeof cacheReadTokens === "number" ? { cacheReadTokens } : {}),
    ...(typeof reasoningTokens === "number" ? { reasoningTokens } : {}),
    ...(costUsd === undefined ? {} : { costUsd }),
  } as Usage;
}

/** OpenRouter's cost in USD. With a key of your own (BYOK) `cost` is its fee, and the provider's bill stands beside it. */
function costOf(raw: Record<string, unknown>): number | undefined {
  const { cost, is_byok } = raw;
  if (typeof cost !== "number") return undefined;
  const upstream = details(raw, "cost_details")["upstream_inference_cost"];
  return typeof upstream === "number" && (is_byok === true || cost === 0) ? cost + upstream : cost;
}

function details(raw: Record<string, unknown>, ...names: string[]): Record<string, unknown> {
  for (const name of names) {
    const value = raw[name];
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  }
  return {};
}
