import { type ConditionalPrice, type ModelInfo, type ModelPrice, calcPrice } from "@pydantic/genai-prices";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { listedPrice } from "../../src/pricing/listed-price.js";
import { boundCost, boundOf, costOf } from "../../src/pricing/price.js";

// Slow machines are slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

const DAY = 86_400_000;
const start = Date.parse("2026-03-01T00:00:00Z");
const model = (prices: ModelInfo["prices"], id = "m"): ModelInfo => ({ id, match: { equals: id }, prices });

const listed: fc.Arbitrary<ModelPrice> = fc
  .tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 50 }), fc.option(fc.integer({ min: 0, max: 40 })))
  .map(([input, output, fee]) => ({
    input_mtok: input,
    output_mtok: output,
    ...(fee !== null && { requests_kcount: fee }),
  }));
const clock = fc.nat(95).map((quarter) => `${new Date(quarter * 900_000).toISOString().slice(11, 19)}Z`);
const condition: fc.Arbitrary<ConditionalPrice["constraint"]> = fc.oneof(
  fc.nat(4).map((day) => ({
    type: "start_date" as const,
    start_date: new Date(start + day * DAY).toISOString().slice(0, 10),
  })),
  fc.tuple(clock, clock).map(([start_time, end_time]) => ({ type: "time_of_date" as const, start_time, end_time })),
);
const entry = fc
  .tuple(listed, fc.option(condition, { freq: 8 }))
  .map(([prices, constraint]): ConditionalPrice => (constraint ? { prices, constraint } : { prices }));
const entries = fc.array(entry, { minLength: 1, maxLength: 5 });
/** Any quarter of an hour around the dates, and the milliseconds beside it. */
const moment = fc
  .tuple(fc.nat(6 * 96), fc.integer({ min: -1, max: 1 }))
  .map(([quarter, ms]) => start - DAY / 2 + quarter * 900_000 + ms);
const usage = { inputTokens: 1_000, outputTokens: 1_000 };

const theirs = (prices: readonly ConditionalPrice[], at: number) =>
  calcPrice({ input_tokens: 1_000, output_tokens: 1_000 }, "m", {
    provider: { id: "p", name: "p", api_pattern: "p", models: [model([...prices])] },
    timestamp: new Date(at),
  })!;

describe("a dated price is the library's own choice", () => {
  test("property: at any moment, for dates and hours in any order, over midnight too", () => {
    fc.assert(
      fc.property(entries, moment, (prices, at) => {
        const { input_mtok: input, output_mtok: output } = theirs(prices, at).model_price;
        const [charge] = listedPrice(model(prices), at).price!.charges;
        expect(charge).toMatchObject({ input: (input as number) * 1e6, output: (output as number) * 1e6 });
      }),
      { numRuns: 1_000 },
    );
  });

  test("property: it holds, ceiling included, for the whole span it states", () => {
    fc.assert(
      fc.property(entries, moment, moment, (prices, at, other) => {
        const { from, until, price } = listedPrice(model(prices), at);
        expect(from <= at && at < until).toBe(true);
        const dearest = (time: number) => boundOf(listedPrice(model(prices), time).price!, 1_000);
        for (const time of [other, from, until - 1]) {
          if (!Number.isFinite(time) || time < from || time >= until) continue;
          expect(listedPrice(model(prices), time).price!.charges).toEqual(price!.charges);
          expect(dearest(time)).toEqual(boundOf(price!, 1_000));
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("property: what a call costs within a day of its bound is never above it", () => {
    fc.assert(
      fc.property(entries, moment, fc.nat(DAY), (prices, at, later) => {
        const bound = boundCost(boundOf(listedPrice(model(prices), at).price!, usage.inputTokens), usage.outputTokens);
        expect(bound).toBeGreaterThanOrEqual(costOf(listedPrice(model(prices), at + later).price!, usage));
      }),
      { numRuns: 1_000 },
    );
  });

  test("a bound does not expect what ended, nor what begins after a day", () => {
    const dates = [1, 9, 2].map((input, day) => ({
      prices: { input_mtok: input, output_mtok: 1 },
      constraint: {
        type: "start_date" as const,
        start_date: new Date(start + day * 10 * DAY).toISOString().slice(0, 10),
      },
    }));
    const dearest = (at: number) =>
      Math.max(...listedPrice(model(dates), at).price!.ceilings.map(({ input }) => input)) / 1e6;
    const days = [0, 8.99, 9, 10, 19.9, 20, 25].map((day) => dearest(start + day * DAY));
    expect(days).toEqual([1, 1, 9, 9, 9, 2, 2]);
  });
});

describe("a listed price is for tokens of text", () => {
  const at = (prices: ModelPrice, id?: string) => listedPrice(model(prices, id), start).price;

  test.each<[string, ModelPrice]>([
    ["nothing", {}],
    ["a free input", { input_mtok: 0, output_mtok: 1 }],
    ["a free output", { input_mtok: 1, output_mtok: 0 }],
    ["hours of audio", { audio_hours: 1, input_audio_hours: 1 }],
    ["a free tier", { input_mtok: { base: 1, tiers: [{ start: 10, price: 0 }] }, output_mtok: 1 }],
  ])("%s is no price", (_, prices) => expect(at(prices)).toBeUndefined());

  test("a price that may turn to none within a day is none", () => {
    const free = {
      prices: { input_mtok: 0, output_mtok: 0 },
      constraint: { type: "start_date" as const, start_date: "2026-03-02" },
    };
    const paid = { prices: { input_mtok: 1, output_mtok: 1 } };
    expect(listedPrice(model([paid, free]), start).price).toBeUndefined();
    expect(listedPrice(model([paid, free]), start - DAY).price).toBeDefined();
    expect(listedPrice(model([free, { ...paid, constraint: free.constraint }]), start - 5 * DAY).price).toBeUndefined();
  });

  test("an embedding model's output, should there be any, costs what its input costs", () => {
    expect(costOf(at({ input_mtok: 2 })!, { inputTokens: 1, outputTokens: 1 })).toBe(4_000);
  });

  test("tiers may come in any order and begin at different sizes; what has no tier keeps its price", () => {
    const price = at({
      input_mtok: {
        base: 1,
        tiers: [
          { start: 200, price: 3 },
          { start: 100, price: 2 },
        ],
      },
      cache_read_mtok: 0.5,
      output_mtok: { base: 10, tiers: [{ start: 150, price: 20 }] },
    })!;
    const cost = (inputTokens: number) => costOf(price, { inputTokens, outputTokens: 1, cacheReadTokens: 10 });
    expect(cost(100)).toBe(90_000 + 5_000 + 10_000);
    expect(cost(101)).toBe(91 * 2_000 + 5_000 + 10_000);
    expect(cost(151)).toBe(141 * 2_000 + 5_000 + 20_000);
    expect(cost(201)).toBe(191 * 3_000 + 5_000 + 20_000);
  });

  test("kinds that are not listed cost what they are a kind of; a fee per thousand requests is a thousandth each", () => {
    const price = at({
      input_mtok: 1,
      output_mtok: 2,
      cache_write_mtok: 3,
      output_reasoning_mtok: 4,
      requests_kcount: 5,
    })!;
    expect(price.rates).toEqual([
      {
        above: -1,
        request: 5e9,
        input: 1e6,
        output: 2e6,
        reasoning: 4e6,
        cacheRead: 1e6,
        cacheReadMedia: 1e6,
        cacheWrite: 3e6,
        cacheWriteHour: 3e6,
        audio: 1e6,
        image: 1e6,
        video: 1e6,
      },
    ]);
    expect(costOf(price, { inputTokens: 0, outputTokens: 0 })).toBe(5_000_000);
  });

  test("every kind that is listed is read", () => {
    const keys =
      "input output output_reasoning cache_read cache_audio_read cache_write cache_write_1h input_audio input_image input_video";
    const prices = Object.fromEntries(keys.split(" ").map((key, index) => [`${key}_mtok`, index + 1]));
    const [rates] = at(prices)!.rates;
    const { above: _above, request: _request, ...read } = rates!;
    expect(Object.values(read).map((pico) => pico / 1e6)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(at({ ...prices, output_video_mtok: 30 })!.rates[0]!.output).toBe(30e6);
    expect(at({ ...prices, output_image_mtok: 30 })!.rates[0]!.output).toBe(30e6);
    expect(at({ ...prices, cache_image_read_mtok: 30 })!.rates[0]!.cacheReadMedia).toBe(30e6);
  });
});
