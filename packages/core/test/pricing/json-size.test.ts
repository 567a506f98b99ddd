import { countTokens as o200k } from "gpt-tokenizer/model/gpt-4o";
import { countTokens as cl100k } from "gpt-tokenizer/model/gpt-4";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { Uncountable, jsonBound } from "../../src/pricing/json-size.js";
import { byteBound, textCounter } from "../../src/pricing/text-size.js";
import { chunkedTokenizer } from "../../src/pricing/tokenizer.js";

// Slow machines are slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

const plain = { disallowedSpecial: new Set<string>() };
const counted = textCounter(chunkedTokenizer((text) => o200k(text, plain)));

/** JSON as Python's json.dumps writes it by default, and as a web template does. */
const asciiOnly = (json: string) =>
  json.replace(/[^\0-~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
const htmlSafe = (json: string) => json.replace(/[<>&']/g, (unit) => `\\u00${unit.charCodeAt(0).toString(16)}`);
const spaced = (json: string) => json.replace(/\n */g, " ");
const renderings = (value: unknown): string[] => {
  const [short, two, four] = [undefined, 2, 4].map((indent) => JSON.stringify(value, null, indent));
  return [short, two, four, spaced(two!), asciiOnly(four!), htmlSafe(short!), asciiOnly(htmlSafe(four!))] as string[];
};

/** The worst a tokenizer may do that joins nothing but spaces: a token for every byte, and for every run of spaces. */
const unmerged = (json: string) => Buffer.byteLength(json.replace(/\s+/g, " "));

describe("JSON is bounded however it is written", () => {
  test("property: any JSON value, also by a tokenizer that joins nothing but indentation", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "binary", maxDepth: 4 }), (value) => {
        const bound = jsonBound(value, byteBound);
        for (const json of renderings(value)) expect(bound, json).toBeGreaterThanOrEqual(unmerged(json));
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    [[false, true, null, 0, -1, 1e21, 5e-324, 123_456_789]],
    [[undefined, () => 1, Symbol("x")]],
    [{ a: { b: { c: {} } }, d: [[[]]], e: false }],
    [["a\nb", 'q"q', "back\\slash", "<b>'&'</b>", "\u0001\u001f", "é日😀\ud800"]],
  ])("%j", (value) => {
    for (const json of renderings(value))
      expect(jsonBound(value, byteBound), json).toBeGreaterThanOrEqual(unmerged(json));
  });

  test("property: any JSON value, in every rendering, by bytes", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
        const bound = jsonBound(value, byteBound);
        for (const json of renderings(value))
          expect(bound, json).toBeGreaterThanOrEqual(Math.max(o200k(json, plain), cl100k(json, plain)));
      }),
      { numRuns: 500 },
    );
  });

  test("property: any JSON value, plain and indented, by a tokenizer", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "grapheme" }), (value) => {
        const bound = jsonBound(value, counted);
        for (const json of renderings(value).slice(0, 4))
          expect(bound, json).toBeGreaterThanOrEqual(o200k(json, plain));
      }),
      { numRuns: 500 },
    );
  });

  test("property: JSON that is text inside JSON, as arguments of tool calls may be", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value);
        expect(jsonBound(text, byteBound)).toBeGreaterThanOrEqual(Buffer.byteLength(JSON.stringify(text)));
      }),
    );
  });

  test("what JSON leaves out is left out, what serialises itself is asked", () => {
    expect(jsonBound({ a: undefined, b: () => 1, c: Symbol("x"), [Symbol("d")]: 2 }, byteBound)).toBe(
      jsonBound({}, byteBound),
    );
    const date = new Date(0);
    expect(jsonBound(date, byteBound)).toBe(jsonBound(date.toISOString(), byteBound));
  });
});

describe("what cannot be JSON is refused in time", () => {
  const nested = (levels: number): unknown => (levels === 0 ? "leaf" : { inner: nested(levels - 1) });

  test("60 levels and 900,000 values are counted, 70 levels are not", () => {
    expect(jsonBound(nested(60), byteBound)).toBeGreaterThan(60 * 10);
    expect(
      jsonBound(
        Array.from({ length: 900_000 }, () => 1),
        byteBound,
      ),
    ).toBeGreaterThan(900_000);
    expect(() => jsonBound(nested(70), byteBound)).toThrow(/deeper than 64/);
  });

  const circle: Record<string, unknown> = {};
  circle["self"] = { circle };
  const list: unknown[] = [];
  list.push(list);
  let bush: unknown = "leaf";
  for (let level = 0; level < 40; level++) bush = [bush, bush];
  const endless = { toJSON: (): unknown => endless };
  test.each<[string, unknown]>([
    ["a circle", circle],
    ["a list in itself", list],
    ["a graph of 2^40 paths", bush],
    ["a toJSON that returns itself", endless],
    ["a BigInt", { a: [1n] }],
  ])("%s", (_, value) => {
    const start = performance.now();
    expect(() => jsonBound(value, byteBound)).toThrow(Uncountable);
    expect(performance.now() - start).toBeLessThan(2_000);
  });
});
