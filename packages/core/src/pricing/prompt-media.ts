/** Whose rules the overhead and the media of a prompt follow. */
export type Family = "openai" | "claude" | "gemini" | "other";

/** The family a model's name shows, hosted ones included; `other` covers everything else. */
export function familyOf(model: string | undefined): Family {
  if (model === undefined) return "other";
  const name = model.toLowerCase();
  if (name.includes("claude")) return "claude";
  if (name.includes("gemini")) return "gemini";
  return /(?:^|[/.])(?:gpt-(?!oss)|chatgpt-|o[1-9](?:$|-))/.test(name) ? "openai" : "other";
}

/**
 * The most tokens one image can be, whatever its size: what the providers' vision guides state, as of 2026.
 *
 * - OpenAI (developers.openai.com, "Images and vision"): tiles of 512 px in 768 × 2048: 85 + 8 × 170 = 1,445 at most; gpt-4o-mini
 *   2,833 + 8 × 5,667 = 48,169; small models 1,536 patches × 2.46 = 3,779; from gpt-5.2 on 2,500 patches at `high` and 10,000
 *   at `original`, × 2.46 at most. `low` is the base of the dearest model.
 * - Anthropic (platform.claude.com, "Vision"): ⌈w/28⌉ × ⌈h/28⌉ of an image scaled to 2,576 px: 92 × 52 = 4,784.
 * - Google (ai.google.dev, "Understand and count tokens"): 258 a tile, at most 2 × 12 tiles of an image scaled to 3,072 px: 6,192;
 *   Gemini 3 at most 2,240 ("Media resolution").
 * - Others: Together 6,404, Grok 1,792, Qwen-VL 16,384 patches.
 */
export function imageBound(family: Family, model: string | undefined, detail: unknown): number {
  switch (family) {
    case "claude":
      return 4_784;
    case "gemini":
      return 6_192;
    case "openai":
      return openAIImageBound(model!.toLowerCase(), detail);
    case "other":
      return model === undefined ? 48_169 : 25_000;
  }
}

function openAIImageBound(model: string, detail: unknown): number {
  if (detail === "low") return 2_833;
  if (model.includes("gpt-4o-mini")) return 48_169;
  if (/gpt-5\.[2-9]|gpt-[6-9]/.test(model)) return detail === "high" ? 6_150 : 24_600;
  if (/mini|nano/.test(model)) return 3_779;
  return /gpt-4|gpt-5(?!\.)|gpt-5\.1|(?:^|[/.])o[13]/.test(model) ? 1_445 : 24_600;
}

/** Gemini hears 32 tokens a second, OpenAI 10. */
const AUDIO_TOKENS_PER_SECOND = 32;
/** Bytes a second holds at least: 8 kHz of 8 bits in a WAV; compressed speech at 4 kbit/s (Opus begins at 6, MP3 at 8). */
const MIN_BYTES_PER_SECOND = { wave: 8_000, compressed: 500 };

/** The most tokens base64-encoded audio can be, by its size and format (`wav`, `pcm16`, `mp3`, `audio/wav`, …). */
export function audioBound(base64: string, format: unknown): number {
  const isWave = typeof format === "string" && /wav|pcm|l16/i.test(format);
  const rate = isWave ? MIN_BYTES_PER_SECOND.wave : MIN_BYTES_PER_SECOND.compressed;
  return Math.ceil(((base64.length * 0.75) / rate) * AUDIO_TOKENS_PER_SECOND) + AUDIO_TOKENS_PER_SECOND;
}

interface Overhead {
  /** Once a request. */
  readonly request: number;
  /** Once a request that has tools. */
  readonly tools: number;
  /** For each tool, beside its schema. */
  readonly tool: number;
}

/**
 * Tokens a provider adds. OpenAI: 3 to prime the answer (cookbook, "How to count tokens"), a namespace around functions, and
 * one for parallel calls. Anthropic: a tool-use system prompt of up to 530 tokens (docs, "Tool use pricing"; newer models
 * unpublished, hence 1,000). Others: default system prompts of open-weight templates (gpt-oss ~80, Llama 3 ~30, Qwen ~25) and
 * their tool instructions (up to ~300).
 */
export const OVERHEAD: Readonly<Record<Family, Overhead>> = {
  openai: { request: 32, tools: 256, tool: 16 },
  claude: { request: 64, tools: 1_000, tool: 32 },
  gemini: { request: 32, tools: 128, tool: 16 },
  other: { request: 128, tools: 1_000, tool: 32 },
};

/** Tokens around one message: role markers of every known template (ChatML 4, Llama 3 5, Gemma 5, harmony 5). */
export const PER_MESSAGE = 8;

/** A client tool the provider defines itself, by name only: 735 for computer use and 499 of its prompt, 700 for the editor. */
export const PER_PREDEFINED_TOOL = 1_500;
