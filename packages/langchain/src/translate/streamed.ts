/** A content-block event of LangChain, which its older versions do not know. */
export interface StreamEvent {
  readonly event: string;
  readonly delta?: unknown;
}

/** The output a chunk of a stream adds: text, and what LangChain hands on beside it: tool calls and thinking. */
export function textOfChunk(token: string, chunk: unknown): string {
  const { message } = (chunk ?? {}) as { message?: Partial<Record<string, unknown>> };
  if (message === undefined) return token;
  const { tool_call_chunks: calls, additional_kwargs: extra, content } = message;
  let text = token;
  for (const { name, args } of list(calls)) text += string(name) + string(args);
  text += string((extra as Record<string, unknown> | undefined)?.["reasoning_content"]);
  // Text in blocks is the token; the other blocks come without one.
  for (const block of list(content))
    text += string(block["thinking"]) + string(block["reasoning"]) + string(block["input"]);
  return text;
}

/** The output a content-block event adds. */
export function textOfEvent({ event, delta }: StreamEvent): string {
  if (event !== "content-block-delta") return "";
  const { text, reasoning, args } = delta as { text?: unknown; reasoning?: unknown; args?: unknown };
  return string(text) + string(reasoning) + string(args);
}

function list(value: unknown): Record<string, unknown>[] {
  if (!Array.isArray(value)) return [];
  return value.filter((element) => typeof element === "object" && element !== null);
}

function string(value: unknown): string {
  return typeof value === "string" ? value : "";
}
