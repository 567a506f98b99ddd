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
  /** Output tokens that were seen. */
  readonly outputTokens: number;
  /** It was read to its end. */
  readonly isWhole: boolean;
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
  readonly #usageOf: (part: Chunk) => unknown;
  readonly #partsOf: ((chunk: Chunk) => readonly unknown[]) | undefined;
  readonly #onEnd: (end: StreamEnd) => Promise<unknown>;
  readonly #tally: StreamTally;
  #usage: unknown;
  /** Chunks with text since the usage came: it does not know of them. */
  #sinceUsage = 0;
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
      /** What a chunk holds, when it holds several events; `usageOf` is then asked for each. Default: the chunk itself. */
      partsOf?: ((chunk: Chunk) => readonly unknown[]) | undefined;
      tokenizer?: Tokenizer | undefined;
      signal?: AbortSignal | undefined;
    },
  ) {
    this.#source = source;
    this.#onEnd = onEnd;
    this.#usageOf = options.usageOf ?? usageOfChunk;
    this.#partsOf = options.partsOf;
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
        await this.#end({ isWhole: true });
        return result;
      }
      this.#started = true;
      this.#look(result.value);
      return result;
    } catch (error) {
      await this.#end(this.#started ? {} : { error });
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

  async #end({ isWhole = false, error }: { isWhole?: boolean; error?: unknown } = {}): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    const usage = this.#trusted(isWhole);
    const told = usage === undefined ? (outputIn(this.#usage) ?? 0) : 0;
    const end = { outputTokens: Math.max(this.#tally.outputTokens, told), isWhole, usage };
    await this.#onEnd(error === undefined ? end : { ...end, error });
  }

  /** What is read after the end: an abort must not look like a whole answer. */
  #over(): IteratorResult<Chunk> {
    if (this.#aborted) throw this.#signal?.reason;
    return { done: true, value: undefined };
  }

  #look(chunk: Chunk): void {
    if (this.#partsOf === undefined) return this.#see(chunk);
    try {
      for (const part of this.#partsOf(chunk)) this.#see(part as Chunk);
    } catch {
      this.#tally.add("?");
    }
  }

  /** Bookkeeping never costs the reader a chunk; what cannot be read counts as something. */
  #see(chunk: Chunk): void {
    const usage = this.#usageIn(chunk);
    try {
      const text = textOf(chunk);
      this.#tally.add(text ?? (usage === undefined ? sizeOf(chunk) : ""));
      if (text) this.#sinceUsage++;
    } catch {
      this.#tally.add("?");
    }
    if (usage === undefined) return;
    this.#usage = usage;
    this.#sinceUsage = 0;
  }

  #usageIn(chunk: Chunk): unknown {
    try {
      return atOnce("usageOf", this.#usageOf(chunk)) ?? undefined;
    } catch {
      // A chunk whose usage cannot be read has none; without any the call is charged at what was streamed.
      return undefined;
    }
  }

  /**
   * The provider's usage, where it can be about the whole stream: it came with the last text, and does not say that nothing, or
   * where the stream broke less than what was seen, was written.
   */
  #trusted(isWhole: boolean): unknown {
    if (this.#sinceUsage > 0) return undefined;
    const told = outputIn(this.#usage);
    const seen = this.#tally.outputTokens;
    const tooLittle = told !== undefined && seen > 0 && (told === 0 || (!isWhole && told < seen));
    return tooLittle ? undefined : this.#usage;
  }
}

/** The output tokens a usage tells. It is the caller's or the host's: reading it must not fail the reader. */
function outputIn(usage: unknown): number | undefined {
  try {
    const { outputTokens } = (usage ?? {}) as Partial<Usage>;
    return Number.isSafeInteger(outputTokens) ? outputTokens : undefined;
  } catch {
    return undefined;
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

/**
 * The text a chunk adds: content, refusals, reasoning and tool-call deltas of chat completions; deltas of Responses and of
 * Anthropic's messages; LangChain's content; strings. "" adds nothing; `undefined`: a shape that is not known.
 */
function textOf(chunk: unknown): string | undefined {
  if (typeof chunk === "string") return chunk;
  if (typeof chunk !== "object" || chunk === null) return "";
  const { choices, delta, text, content, type } = chunk as Record<string, unknown>;
  // Events of Responses and of Anthropic: only deltas add text, the others frame or repeat it.
  if (typeof type === "string" && /[._]/.test(type)) return type.endsWith("delta") ? textOfDelta(delta) : "";
  if (Array.isArray(choices)) return choices.map(textOfChoice).join("");
  if (typeof text === "string") return text;
  if (delta !== undefined) return textOfDelta(delta);
  return content === undefined ? undefined : textOfContent(content);
}

function textOfChoice({ text, delta }: { text?: unknown; delta?: unknown }): string {
  return typeof text === "string" ? text : textOfDelta(delta);
}

const deltaTexts = [
  "refusal",
  "reasoning_content",
  "reasoning",
  "text",
  "thinking",
  "partial_json",
  "name",
  "arguments",
] as const;

function textOfDelta(delta: unknown): string {
  if (typeof delta === "string") return delta;
  if (typeof delta !== "object" || delta === null) return "";
  const fields = delta as Record<string, unknown>;
  let text = textOfContent(fields["content"]);
  for (const name of deltaTexts) if (typeof fields[name] === "string") text += fields[name];
  const calls = Array.isArray(fields["tool_calls"]) ? (fields["tool_calls"] as { function?: unknown }[]) : [];
  for (const call of [...calls.map((each) => each.function), fields["function_call"]]) text += textOfDelta(call);
  return text;
}

function textOfContent(content: unknown): string {
  if (typeof content === "string") return content;
  return Array.isArray(content) ? content.map(textOfDelta).join("") : "";
}

/** A chunk of unknown shape as text: more than it holds, because nobody can say how much of it was written by the model. */
function sizeOf(chunk: unknown): string {
  return chunk instanceof Uint8Array ? Buffer.from(chunk).toString() : (JSON.stringify(chunk) ?? "?");
}
