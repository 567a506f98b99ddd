import { countTokens as countWhole, encode as encodeWhole } from "gpt-tokenizer";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { type Tokenizer, chunkedTokenizer } from "../../src/pricing/tokenizer.js";
import { promptBound } from "../../src/pricing/prompt-bound.js";
import { corpus } from "./corpus.js";

// Slow machines are slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

const plain = { disallowedSpecial: new Set<string>() };
const tokenizer = chunkedTokenizer((text) => countWhole(text, plain));

describe("a chunked tokenizer", () => {
  test("encodes pieces of at most 1,024 characters, in order, and loses none", () => {
    const pieces: string[] = [];
    const text = Object.values(corpus).join("").repeat(2);
    const one = chunkedTokenizer((piece) => {
      pieces.push(piece);
      return [1, 2, 3];
    });
    const cuts = () => pieces.length - 1;
    expect(one.count(text)).toBe(3 * pieces.length + cuts());
    expect(pieces.join("")).toBe(text);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(1_024);
  });

  test("never parts a surrogate pair", () => {
    const pieces: string[] = [];
    chunkedTokenizer((piece) => pieces.push(piece)).count(`a${"😀".repeat(3_000)}`);
    expect(pieces.every((piece) => !/[\ud800-\udbff]$|^[\udc00-\udfff]/.test(piece))).toBe(true);
    expect(pieces.length).toBeGreaterThan(5);
  });

  test("takes an encoder or a counter, and a short text as it is", () => {
    expect(chunkedTokenizer((text) => encodeWhole(text, plain)).count("Hello, world!")).toBe(4);
    expect(tokenizer.count("Hello, world!")).toBe(4);
    expect(tokenizer.count("")).toBe(0);
  });

  test("with special tokens off, <|endoftext|> is text", () => {
    expect(tokenizer.count("<|endoftext|>")).toBeGreaterThan(1);
  });

  test.each(Object.entries(corpus))("counts %s at the truth or above it", (_, text) => {
    const long = text.repeat(Math.ceil(3_000 / Math.max(text.length, 1)));
    const truth = countWhole(long.slice(0, 12_000), plain);
    const counted = tokenizer.count(long.slice(0, 12_000));
    expect(counted).toBeGreaterThanOrEqual(truth);
    // Tight: what is added is about a token a cut.
    expect(counted).toBeLessThanOrEqual(truth * 1.02 + 30);
  });

  test("property: never under the truth, for any mixture of the corpus", () => {
    const texts = Object.values(corpus).filter((text) => text !== "");
    const slice = fc
      .tuple(fc.constantFrom(...texts), fc.nat(400), fc.nat(900))
      .map(([text, from, length]) => text.slice(from, from + length));
    fc.assert(
      fc.property(fc.array(slice, { minLength: 3, maxLength: 12 }), (parts) => {
        const text = parts.join("");
        expect(tokenizer.count(text)).toBeGreaterThanOrEqual(countWhole(text, plain));
      }),
      { numRuns: 300 },
    );
  });
});

describe("a tokenizer that misbehaves falls back to bytes for that text", () => {
  const bytes = promptBound({ model: "gpt-4o", messages: [{ role: "user", content: "héllo wörld" }] }).tokens;
  test.each([
    [
      "throws",
      () => {
        throw new Error("special token");
      },
    ],
    ["says NaN", () => Number.NaN],
    ["says a negative number", () => -4],
    ["says more than there are bytes", () => 1e9],
    ["says nothing", () => undefined as unknown as number],
    ["says text", () => "3" as unknown as number],
  ])("%s", (_, count) => {
    expect(
      promptBound({ model: "gpt-4o", messages: [{ role: "user", content: "héllo wörld" }] }, { count }).tokens,
    ).toBe(bytes);
  });

  /** A tokenizer that says how often it was asked for one text. */
  const watched = (watch: string) => {
    const seen = { calls: 0, count: (text: string) => (text === watch && seen.calls++, text.length) };
    return seen;
  };
  const ask = (seen: Tokenizer, ...texts: string[]) =>
    promptBound({ messages: texts.map((content) => ({ content })) }, seen).tokens;
  const others = (count: number, length: number) =>
    Array.from({ length: count }, (_, index) => `${index}`.padEnd(length, "."));

  test("each text is counted once, in whatever message it stands", () => {
    const seen = watched("the same text");
    expect(ask(seen, "the same text", "the same text")).toBe(ask(seen, "the same text", "the same text"));
    expect(seen.calls).toBe(1);
  });

  test("a text used again and again is remembered, one long unused is forgotten", () => {
    const [used, unused] = [watched("used"), watched("unused")];
    for (let round = 0; round < 20; round++) ask(used, "used", ...others(1_000, 9).map((text) => `${round} ${text}`));
    expect(used.calls).toBe(1);
    ask(unused, "unused", ...others(5_000, 9), "unused");
    expect(unused.calls).toBe(2);
  });

  test("memory is bounded by characters, too", () => {
    const seen = watched("early");
    ask(seen, "early", ...others(1_000, 10_000), "early");
    expect(seen.calls).toBe(2);
    const few = watched("early");
    ask(few, "early", ...others(300, 10_000), "early");
    expect(few.calls).toBe(1);
    const huge = "x".repeat(4_000_001);
    const large = watched(huge);
    ask(large, huge, huge);
    expect(large.calls).toBe(2);
  });
});
