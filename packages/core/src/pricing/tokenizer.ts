/**
 * Counts the tokens of a text, for a tighter bound than bytes. It has to fit the models you call and must not count less than
 * they do. An answer that is not a number ≥ 0, or a throw, falls back to bytes for that text.
 */
export interface Tokenizer {
  count(text: string): number;
}

/** UTF-16 units a piece has at most: BPE takes quadratic time on an unbroken run (100 KB of `a`: 6–8 s in one piece). */
const PIECE = 1_024;

/**
 * A tokenizer from an encoder: the text is encoded in pieces of at most 1,024 characters, one token is added for each cut, and
 * no cut parts a surrogate pair. Turn the encoder's special tokens off: `<|endoftext|>` in a prompt is text, and
 * `gpt-tokenizer` throws on it by default.
 *
 * ```ts
 * import { countTokens } from "gpt-tokenizer"; // o200k_base: GPT-4o and later
 * const plain = { disallowedSpecial: new Set<string>() };
 * const tokenizer = chunkedTokenizer((text) => countTokens(text, plain));
 * ```
 *
 * @param encode gives the tokens of a text, or their number.
 */
export function chunkedTokenizer(encode: (text: string) => ArrayLike<unknown> | number): Tokenizer {
  const tokensOf = (text: string) => {
    const tokens = encode(text);
    return typeof tokens === "number" ? tokens : tokens.length;
  };
  return {
    count(text) {
      if (text.length <= PIECE) return tokensOf(text);
      let tokens = -1;
      for (let start = 0; start < text.length;) {
        let end = Math.min(start + PIECE, text.length);
        if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end--;
        tokens += tokensOf(text.slice(start, end)) + 1;
        start = end;
      }
      return tokens;
    },
  };
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
