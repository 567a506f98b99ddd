/** Provider names as an answer echoes them: the dated variant of the alias that was asked for. */
const datedVariants: Readonly<Record<string, string>> = {
  "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
  "gpt-4-turbo": "gpt-4-turbo-2024-04-09",
  "gpt-4o": "gpt-4o-2024-08-06",
  "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
  "gpt-4.1": "gpt-4.1-2025-04-14",
  "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
  "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
  "gpt-5": "gpt-5-2025-08-07",
  "gpt-5-mini": "gpt-5-mini-2025-08-07",
  "gpt-5-nano": "gpt-5-nano-2025-08-07",
  o1: "o1-2024-12-17",
  o3: "o3-2025-04-16",
  "o3-mini": "o3-mini-2025-01-31",
  "o4-mini": "o4-mini-2025-04-16",
  "claude-haiku-4-5": "claude-haiku-4-5-20251001",
  "claude-opus-4-5": "claude-opus-4-5-20251101",
  "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
};

/** The name an answer to `model` carries. A name without a dated variant is echoed as it is. */
export function datedModel(model: string): string {
  return Object.hasOwn(datedVariants, model) ? datedVariants[model]! : model;
}

/** Reasoning models take `max_completion_tokens` only: the provider refuses `max_tokens` for them. */
export function isReasoningModel(model: string): boolean {
  return /^(o\d|gpt-5(?!.*-chat))/.test(model);
}

/** The answer to `GET /v1/models`. */
export function listModels(): object {
  const makers = Object.entries(datedVariants).filter(([name]) => !name.startsWith("claude-"));
  const names = [...makers.flat(), "text-embedding-3-small", "text-embedding-3-large"];
  return { object: "list", data: names.map((id) => ({ id, object: "model", created: 0, owned_by: "openai" })) };
}
