import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { boundCost, boundOf, costOf } from "../../src/pricing/price.js";
import { PriceBook } from "../../src/pricing/price-book.js";
import { CATALOGUE_VERSION } from "../../src/pricing/catalogue.js";

interface Golden {
  version: string;
  at: string;
  usages: Record<string, { inputTokens: number; outputTokens: number }>;
  models: { provider: string; model: string; listedAs: string; nanoUsd: Record<string, number> }[];
}

const golden = JSON.parse(readFileSync(new URL("golden.json", import.meta.url), "utf8")) as Golden;
const at = Date.parse(golden.at);
const book = new PriceBook();

describe("the golden prices (golden.generate.ts computes them without our code)", () => {
  test("are of the release the book names, for 40 models and more", () => {
    expect(golden.version).toBe(CATALOGUE_VERSION);
    expect(golden.models.length).toBeGreaterThanOrEqual(40);
  });

  for (const { provider, model, listedAs, nanoUsd } of golden.models) {
    test(`${provider} ${model}`, () => {
      const match = book.lookup(model, provider, at);
      expect(match).toMatchObject({
        kind: "catalogue",
        source: "genai-prices",
        model: listedAs,
        version: golden.version,
      });
      for (const [name, usage] of Object.entries(golden.usages)) {
        expect.soft(costOf(match!.price, usage), name).toBe(nanoUsd[name]);
        const bound = boundCost(boundOf(match!.price, usage.inputTokens), usage.outputTokens);
        expect.soft(bound, `bound of ${name}`).toBeGreaterThanOrEqual(nanoUsd[name]!);
      }
    });
  }
});

describe("list prices known from the providers' own pages (USD per million tokens: input, output, cached input)", () => {
  test.each([
    ["gpt-4o", 2.5, 10, 1.25],
    ["gpt-4o-mini", 0.15, 0.6, 0.075],
    ["gpt-4.1", 2, 8, 0.5],
    ["gpt-5", 1.25, 10, 0.125],
    ["gpt-5-mini", 0.25, 2, 0.025],
    ["o1-pro", 150, 600, 150],
    ["o3", 2, 8, 0.5],
    ["claude-sonnet-4-5", 3, 15, 0.3],
    ["claude-opus-4-1", 15, 75, 1.5],
    ["claude-opus-4-5", 5, 25, 0.5],
    ["claude-haiku-4-5", 1, 5, 0.1],
    ["gemini-2.5-pro", 1.25, 10, 0.125],
    ["gemini-2.5-flash", 0.3, 2.5, 0.03],
  ])("%s", (model, input, output, cached) => {
    const { price } = book.lookup(model, undefined, at)!;
    const cost = (usage: { inputTokens?: number; outputTokens?: number; cacheReadTokens?: number }) =>
      costOf(price, { inputTokens: 0, outputTokens: 0, ...usage }) / 1_000;
    // nano-USD of 1,000 tokens ÷ 1,000 is nano-USD a token, which is milli-USD per million.
    expect(cost({ inputTokens: 1_000 })).toBeCloseTo(input * 1_000, 6);
    expect(cost({ outputTokens: 1_000 })).toBeCloseTo(output * 1_000, 6);
    expect(cost({ inputTokens: 1_000, cacheReadTokens: 1_000 })).toBeCloseTo(cached * 1_000, 6);
  });
});
