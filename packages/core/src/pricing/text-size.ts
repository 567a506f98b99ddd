import type { Tokenizer } from "./tokenizer.js";

/** A number of tokens the text cannot exceed. */
export type CountText = (text: string) => number;

/**
 * UTF-8 bytes of a text or of its NFKC form, whichever are more. Every token of a byte-level or byte-fallback vocabulary
 * stands for at least one byte of what the tokenizer reads, and some read NFKC (one `ﷺ` of 3 bytes becomes 33). A lone
 * surrogate counts 3 bytes: it travels as U+FFFD.
 */
export function byteBound(text: string): number {
  const bytes = Buffer.byteLength(text);
  // As many bytes as characters: ASCII, which NFKC leaves alone.
  return bytes === text.length ? bytes : normalBound(text, bytes);
}

function normalBound(text: string, bytes: number): number {
  if (text.length < MIN_REMEMBERED) return Math.max(bytes, Buffer.byteLength(text.normalize("NFKC")));
  return recentBytes.get(text, () => Math.max(bytes, Buffer.byteLength(text.normalize("NFKC"))));
}

/** Shorter texts are counted faster than found. */
const MIN_REMEMBERED = 64;
/** Texts of one generation, and their characters in all: two generations of 4 M characters are the most memory held. */
const MAX_TEXTS = 2_048;
const MAX_CHARACTERS = 4_000_000;

/** Counts by text, least recently used forgotten first: two generations, the older one dropped when the younger is full. */
class Recent {
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #characters = 0;

  get(text: string, count: () => number): number {
    const young = this.#young.get(text);
    if (young !== undefined) return young;
    const tokens = this.#old.get(text) ?? count();
    if (text.length > MAX_CHARACTERS) return tokens;
    if (this.#young.size >= MAX_TEXTS || this.#characters + text.length > MAX_CHARACTERS) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#characters = 0;
    }
    this.#young.set(text, tokens);
    this.#characters += text.length;
    return tokens;
  }
}

const recentBytes = new Recent();
const counters = new WeakMap<Tokenizer, CountText>();

/** The bound of a text by a tokenizer, never above its bytes; by bytes alone without one. */
export function textCounter(tokenizer: Tokenizer | undefined): CountText {
  if (tokenizer === undefined) return byteBound;
  let counter = counters.get(tokenizer);
  if (counter === undefined) {
    const recent = new Recent();
    counter = (text) => (text === "" ? 0 : recent.get(text, () => countOrBytes(tokenizer, text)));
    counters.set(tokenizer, counter);
  }
  return counter;
}

function countOrBytes(tokenizer: Tokenizer, text: string): number {
  const bytes = byteBound(text);
  try {
    const tokens = tokenizer.count(text);
    return typeof tokens === "number" && tokens >= 0 && tokens <= bytes ? Math.ceil(tokens) : bytes;
  } catch {
    // A tokenizer that fails on a text must not fail the call: bytes are always a bound.
    return bytes;
  }
}
