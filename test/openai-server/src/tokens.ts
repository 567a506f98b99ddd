/** Characters a token stands for. Not a real tokenizer's ratio: a rule a reader can check by eye. */
export const CHARACTERS_PER_TOKEN = 4;

/** What every message costs besides its text. */
export const TOKENS_PER_MESSAGE = 4;

/** Tokens of `characters` characters: a quarter, rounded up. */
export function tokensOf(characters: number): number {
  return Math.ceil(characters / CHARACTERS_PER_TOKEN);
}

/** Characters of the text in a message's content: a string, or a list of parts of which those with `text` count. */
export function charactersIn(content: unknown): number {
  if (typeof content === "string") return content.length;
  if (!Array.isArray(content)) return 0;
  return content.reduce((sum: number, part: { text?: unknown } | null) => sum + charactersIn(part?.text), 0);
}

/** Characters of a value that the provider reads as JSON: tool calls, tool schemas, response formats. */
export function charactersOfJson(value: unknown): number {
  return value === undefined || value === null ? 0 : JSON.stringify(value).length;
}
