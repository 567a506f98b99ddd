import type { ErrorBody } from "./error-body.js";
import type { ReceivedRequest } from "./request.js";

/** How to answer one request. Everything is optional: `{}` is the default reply, ten tokens of text at once. */
export interface Reply {
  /** The answer's text, cut at the request's maximum of output tokens. Default: ten tokens, or none beside `toolCalls`. */
  readonly text?: string;
  readonly toolCalls?: readonly ReplyToolCall[];
  /** What is reported and billed, over all choices. Default: computed from the texts, see `tokens.ts`. */
  readonly usage?: ReplyUsage;
  /** The request's maximum of output tokens binds neither text nor usage: a provider that breaks its word. Default false. */
  readonly ignoreMaximum?: boolean;
  /** The model echoed and billed. Default: the dated variant of the requested one (`gpt-4o` → `gpt-4o-2024-08-06`). */
  readonly model?: string;
  /** Default: `"length"` when the text was cut, else `"tool_calls"` or `"stop"`. */
  readonly finishReason?: string;
  /** An HTTP status ≥ 400 makes the reply an error. A 5xx with `usage` is billed all the same. */
  readonly status?: number;
  /** Fields of the error body that differ from the usual ones of `status`. */
  readonly error?: Partial<ErrorBody>;
  /** Sent as `retry-after-ms` and, in seconds rounded up, as `retry-after`. Default: neither. */
  readonly retryAfterMs?: number;
  /** Milliseconds before the first byte of the answer. Default 0. */
  readonly delayMs?: number;
  /** Milliseconds between two chunks of a stream. Default 0. */
  readonly chunkDelayMs?: number;
  /** Chunks that the text, and each tool call's arguments, are streamed in. Default: one a token. */
  readonly chunks?: number;
  /** The provider says nothing of usage (and bills it). Default false. */
  readonly omitUsage?: boolean;
  /**
   * The connection breaks after so many content chunks; what was streamed is billed. An answer that is not streamed is
   * lost as a whole, and billed as a whole: the work was done.
   */
  readonly cutAfterChunks?: number;
  /** A stream falls silent after so many content chunks, until the client leaves. */
  readonly hangAfterChunks?: number;
  /** Not a byte is answered, until the client leaves. Default false. */
  readonly hang?: boolean;
}

export interface ReplyToolCall {
  readonly name: string;
  /** An object is sent as JSON, a string as it is. */
  readonly arguments: object | string;
  /** Default: derived from the request's id. */
  readonly id?: string;
}

/** Numbers given here are taken as they are, but for the request's maximum. */
export interface ReplyUsage {
  /** Default: characters ÷ 4, rounded up, plus 4 a message. */
  readonly promptTokens?: number;
  /** With the reasoning tokens. Default: characters ÷ 4, rounded up, for every choice, plus `reasoningTokens`. */
  readonly completionTokens?: number;
  /** Of the prompt tokens. Default 0. */
  readonly cachedTokens?: number;
  /** Of the completion tokens. Default 0. */
  readonly reasoningTokens?: number;
  /** Of the prompt tokens: written to the cache, as Anthropic reports it. Default: none, and not in the bill. */
  readonly cacheWriteTokens?: number;
  /** OpenRouter's own `cost` of the answer, in USD. Default: none is told. */
  readonly costUsd?: number;
}

/** Decides each request's reply; nothing means the default reply. It may wait: the request then waits too. */
export type Script = (request: ReceivedRequest) => Reply | undefined | Promise<Reply | undefined>;

/** A script from what a caller may give: one reply for all, a list used up in order of arrival, or a function. */
export function toScript(replies: Reply | readonly Reply[] | Script = {}): Script {
  if (typeof replies === "function") return replies;
  if (!isList(replies)) return () => replies;
  const rest = [...replies];
  return () => rest.shift();
}

// `Array.isArray` does not narrow a readonly array.
function isList(replies: Reply | readonly Reply[]): replies is readonly Reply[] {
  return Array.isArray(replies);
}
