import type { Usage } from "../domain/usage.js";
import { atOnce } from "../policy/options.js";
import type { Tokenizer } from "../pricing/tokenizer.js";
import { usageFromOpenAI } from "./usage-from-openai.js";

/** What was seen of a stream so far. */
export class StreamTally {
  readonly #tokenizer: Tokenizer | undefined;
  #chunks = 0;
  #size = 0;

  constructor(tokenizer?: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  add(text: string): void {
    if (text === "") return;
    this.#chunks++;
    this.#size += this.#count(text);
  }

  /**
   * Output tokens streamed. With a tokenizer its count, else UTF-8 bytes ÷ 4; never under one token a chunk, because providers
   * send at most a token at a time when they send little.
   */
  get outputTokens(): number {
    return Math.max(this.#chunks, Math.floor(this.#size / (this.#tokenizer === undefined ? 4 : 1)));
  }

  /** A tokenizer that fails must not break the stream: its text counts by bytes. */
  #count(text: string): number {
    try {
      const tokens = this.#tokenizer?.count(text);
      if (typeof tokens === "number" && tokens >= 0) return tokens;
    } catch {
      // As without a tokenizer.
    }
    return Buffer.byteLength(text);
  }
}

/** How a stream ended, with the provider's usage if it came. */
export interface StreamEnd {
  readonly outputTokens: number;
  readonly usage: unknown;
  /** It failed before anything came: the call itself failed. */
  readonly error?: unknown;
}

/**
 * Passes a stream through and tells how it ended: read to the end, broken off, failed or aborted. Breaking off closes the
 * source. `onEnd` is awaited, so that the money has moved when the reader goes on.
 */
export class MeteredStream<Chunk> implements AsyncIterableIterator<Chunk> {
  readonly #source: AsyncIterable<Chunk>;
  #iterator: AsyncIterator<Chunk> | undefined;
  readonly #usageOf: (chunk: Chunk) => unknown;
  readonly #onEnd: (end: StreamEnd) => Promise<unknown>;
  readonly #tally: StreamTally;
  #usage: unknown;
  #ended = false;
  #reading = false;
  #started = false;
  readonly #signal: AbortSignal | undefined;
  #aborted = false;
  readonly #onAbort = () => {
    this.#aborted = !this.#ended;
    void this.abandon();
  };

  constructor(
    source: AsyncIterable<Chunk>,
    onEnd: (end: StreamEnd) => Promise<unknown>,
    options: {
      usageOf?: ((chunk: Chunk) => unknown) | undefined;
      tokenizer?: Tokenizer | undefined;
      signal?: AbortSignal | undefined;
    },
  ) {
    this.#source = source;
    this.#onEnd = onEnd;
    this.#usageOf = options.usageOf ?? usageOfChunk;
    this.#tally = new StreamTally(options.tokenizer);
    this.#signal = options.signal;
    if (this.#signal?.aborted) this.#onAbort();
    else this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** The reader waits for the provider right now. */
  get reading(): boolean {
    return this.#reading;
  }

  /** What was seen so far. */
  get outputTokens(): number {
    return this.#tally.outputTokens;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Chunk>> {
    if (this.#ended) return this.#over();
    this.#reading = true;
    try {
      const result = await this.#opened().next();
      if (this.#ended) return this.#over();
      if (result.done) {
        await this.#end();
        return result;
      }
      this.#started = true;
      this.#see(result.value);
      return result;
    } catch (error) {
      await this.#end(this.#started ? undefined : error);
      throw error;
    } finally {
      this.#reading = false;
    }
  }

  async return(value?: unknown): Promise<IteratorResult<Chunk>> {
    await this.abandon();
    return { done: true, value };
  }

  async throw(error: unknown): Promise<IteratorResult<Chunk>> {
    await this.abandon();
    throw error;
  }

  /** At the first look: a source that cannot be opened fails its reader, not the call that was paid for it. */
  #opened(): AsyncIterator<Chunk> {
    return (this.#iterator ??= this.#source[Symbol.asyncIterator]());
  }

  /** Closes the source and settles at what was seen. */
  async abandon(): Promise<void> {
    if (this.#ended) return;
    const ended = this.#end();
    try {
      await this.#opened().return?.();
    } catch {
      // The source failed while it was closed: what it sent is already counted, and nobody reads on.
    }
    await ended;
  }

  async #end(error?: unknown): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    const end = { outputTokens: this.#tally.outputTokens, usage: this.#usage };
    await this.#onEnd(error === undefined ? end : { ...end, error });
  }

  /** What is read after the end: an abort must not look like a whole answer. */
  #over(): IteratorResult<Chunk> {
    if (this.#aborted) throw this.#signal?.reason;
    return { done: true, value: undefined };
  }

  /** Bookkeeping never costs the reader a chunk: what cannot be read is not counted. */
  #see(chunk: Chunk): void {
    try {
      const usage = atOnce("usageOf", this.#usageOf(chunk));
      if (usage !== undefined && usage !== null) this.#usage = usage;
    } catch {
      // A chunk whose usage cannot be read has none; without any the call is charged at what was streamed.
    }
    try {
      this.#tally.add(textOf(chunk));
    } catch {
      this.#tally.add("?");
    }
  }
}

export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  try {
    return (
      typeof value === "object" &&
      value !== null &&
      typeof (value as AsyncIterable<unknown>)[Symbol.asyncIterator] === "function"
    );
  } catch {
    // An answer that cannot be looked into is handed on as it is.
    return false;
  }
}

function usageOfChunk(chunk: unknown): Usage | undefined {
  if (typeof chunk !== "object" || chunk === null) return undefined;
  const { usage, response } = chunk as { usage?: unknown; response?: { usage?: unknown } };
  const raw = usage ?? response?.usage;
  return raw === undefined || raw === null ? undefined : usageFromOpenAI(raw);
}

/** The text a chunk adds: content, refusals, reasoning and tool-call deltas of chat completions; deltas of Responses; strings. */
function textOf(chunk: unknown): string {
  if (typeof chunk === "string") return chunk;
  if (typeof chunk !== "object" || chunk === null) return "";
  const { choices, delta, text } = chunk as { choices?: unknown; delta?: unknown; text?: unknown };
  if (typeof text === "string") return text;
  if (typeof delta === "string") return delta;
  if (!Array.isArray(choices)) return textOfDelta(delta);
  return choices
    .map((choice: { delta?: unknown; text?: unknown }) =>
      typeof choice.text === "string" ? choice.text : textOfDelta(choice.delta),
    )
    .join("");
}

const deltaTexts = [
  "content",
  "refusal",
  "reasoning_content",
  "reasoning",
  "text",
  "thinking",
  "partial_json",
] as const;

function textOfDelta(delta: unknown): string {
  if (typeof delta !== "object" || delta === null) return "";
  const fields = delta as Record<string, unknown>;
  let text = "";
  for (const name of deltaTexts) if (typeof fields[name] === "string") text += fields[name];
  const calls = fields["tool_calls"];
  if (Array.isArray(calls)) {
    for (const { function: fn } of calls as { function?: { name?: string; arguments?: string } }[])
      text += (fn?.name ?? "") + (fn?.arguments ?? "");
  }
  return text;
}
