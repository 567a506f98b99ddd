import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { ConfigError } from "../../src/errors/config-error.js";
import { compilePrice, picoPerToken } from "../../src/pricing/compile-price.js";
import {
  type Rates,
  boundCost,
  boundOf,
  costOf,
  exactCost,
  isFree,
  priceFor,
  tokenPrice,
} from "../../src/pricing/price.js";

// Slow machines are slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

const price = (input: number, output: number, more: object = {}) =>
  compilePrice({ inputUsdPerMTok: input, outputUsdPerMTok: output, ...more }, "price");

const kinds = { audio: false, image: false, video: false, hourCache: false };

/** Rates as odd as a list may hold them: any order of cheap and dear, from free to $100,000 per million. */
const rate = fc.oneof(fc.integer({ min: 0, max: 200_000_000 }), fc.integer({ min: 0, max: 1e11 }));
const rates = (above: number): fc.Arbitrary<Rates> =>
  fc.record({
    above: fc.constant(above),
    request: fc.oneof(fc.constant(0), rate),
    input: rate,
    output: rate,
    reasoning: rate,
    cacheRead: rate,
    cacheReadMedia: rate,
    cacheWrite: rate,
    cacheWriteHour: rate,
    audio: rate,
    image: rate,
    video: rate,
  });
const tiers = fc
  .uniqueArray(fc.integer({ min: 0, max: 1_000_000 }), { maxLength: 3 })
  .chain((starts) => fc.tuple(...[-1, ...starts.sort((a, b) => a - b)].map(rates)));
const anyPrice = fc.tuple(tiers, fc.array(tiers, { maxLength: 2 }));
const tokens = fc.oneof(fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 0, max: 2_000_000 }));
const usage = fc
  .tuple(
    tokens,
    tokens,
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.double({ min: 0, max: 1, noNaN: true }),
  )
  .map(([inputTokens, outputTokens, read, write, thought]) => {
    const cacheReadTokens = Math.floor(inputTokens * read);
    const cacheWriteTokens = Math.floor((inputTokens - cacheReadTokens) * write);
    return {
      inputTokens,
      outputTokens,
      cacheReadTokens,
      cacheWriteTokens,
      reasoningTokens: Math.floor(outputTokens * thought),
    };
  });

describe("a price is an integer of pico-USD a token", () => {
  test.each([
    [0.0028, 2_800],
    [0.1, 100_000],
    [0.07, 70_000],
    [1.1, 1_100_000],
    [0.003625, 3_625],
    [2.5, 2_500_000],
    [100_000, 1e11],
  ])("%d USD per million is %d pico-USD", (usd, pico) => {
    expect(picoPerToken(usd)).toBe(pico);
  });

  test("a price of more digits is rounded up, never down", () => {
    expect(picoPerToken(0.0000001)).toBe(1);
    expect(picoPerToken(0.08333333333333334)).toBe(83_334);
  });
});

describe("a cost is summed exactly and rounded up once", () => {
  test("three parts of 0.4 nano-USD are 2 nano-USD, not 3 and not 1", () => {
    expect(costOf(price(0.0004, 0.0004), { inputTokens: 2, outputTokens: 1 })).toBe(2);
  });

  test("cached, written and reasoning tokens pay their own prices", () => {
    const claude = price(3, 15, { cacheReadUsdPerMTok: 0.3, cacheWriteUsdPerMTok: 3.75 });
    const usage = { inputTokens: 10_000, outputTokens: 100, cacheReadTokens: 9_000, cacheWriteTokens: 500 };
    expect(costOf(claude, usage)).toBe(500 * 3_000 + 9_000 * 300 + 500 * 3_750 + 100 * 15_000);
  });

  test("95 % cached at a tenth is 14.5 % of the plain input price (measured elsewhere: 3.4 times too much)", () => {
    const cached = price(2.5, 10, { cacheReadUsdPerMTok: 0.25 });
    expect(costOf(cached, { inputTokens: 1_000, outputTokens: 0, cacheReadTokens: 950 })).toBe(0.145 * 2_500_000);
  });

  test("an override without cache prices charges cached tokens as input: never too little for reads", () => {
    const plain = price(3, 15);
    const cost = costOf(plain, { inputTokens: 1_000, outputTokens: 0, cacheReadTokens: 600, cacheWriteTokens: 400 });
    expect(cost).toBe(3_000_000);
  });

  test("the provider's own cost wins", () => {
    expect(costOf(price(3, 15), { inputTokens: 1, outputTokens: 1, costUsd: 0.1 })).toBe(100_000_000);
  });

  test("a remainder of one pico-USD under 2^53 still rounds up, where a division would lose it", () => {
    const pico = tokenPrice([{ ...flat(0), input: 1, request: 9_007_199_254_740_000 }]);
    expect(costOf(pico, { inputTokens: 1, outputTokens: 0 })).toBe(9_007_199_254_741);
    expect(costOf(pico, { inputTokens: 0, outputTokens: 0 })).toBe(9_007_199_254_740);
  });

  test("costs above 2^53 pico-USD are exact, costs above 2^53 nano-USD are the largest number", () => {
    const dear = price(100_000, 99_999.999999);
    expect(costOf(dear, { inputTokens: 100_000_000, outputTokens: 1 })).toBe(Number.MAX_SAFE_INTEGER);
    expect(costOf(dear, { inputTokens: 1_000_001, outputTokens: 1 })).toBe(100_000_100_000_000 + 100_000_000);
  });

  test("a usage that cannot be true is refused by name, not priced", () => {
    const bad = [
      { inputTokens: Number.NaN, outputTokens: 1 },
      { inputTokens: 1, outputTokens: -5 },
      { inputTokens: 10, outputTokens: 1, cacheReadTokens: 11 },
      { inputTokens: 1, outputTokens: 1, reasoningTokens: 2 },
      { inputTokens: 1, outputTokens: Infinity },
    ];
    for (const usage of bad) expect(() => costOf(price(1, 1), usage)).toThrow(ConfigError);
  });

  test("the long way, too, takes absent counts as 0", () => {
    expect(exactCost(price(3, 15), { inputTokens: 7, outputTokens: 2 })).toBe(51_000);
  });

  test("property: the fast path gives what BigInt gives", () => {
    fc.assert(
      fc.property(anyPrice, usage, ([list], used) => {
        const compiled = tokenPrice(list);
        expect(costOf(compiled, used)).toBe(exactCost(compiled, used));
      }),
      { numRuns: 2_000 },
    );
  });

  test("property: one more output token never costs less, nor does one more input token within a tier", () => {
    fc.assert(
      fc.property(anyPrice, usage, ([list], used) => {
        const compiled = tokenPrice(list);
        const cost = costOf(compiled, used);
        expect(costOf(compiled, { ...used, outputTokens: used.outputTokens + 1 })).toBeGreaterThanOrEqual(cost);
        if (list.some(({ above }) => above === used.inputTokens)) return;
        expect(costOf(compiled, { ...used, inputTokens: used.inputTokens + 1 })).toBeGreaterThanOrEqual(cost);
      }),
    );
  });
});

const flat = (pico: number, above = -1): Rates => ({
  above,
  request: 0,
  input: pico,
  output: pico,
  reasoning: pico,
  cacheRead: pico,
  cacheReadMedia: pico,
  cacheWrite: pico,
  cacheWriteHour: pico,
  audio: pico,
  image: pico,
  video: pico,
});

describe("tiers are cliffs", () => {
  const tiered = tokenPrice([flat(1_000_000), flat(2_000_000, 200_000)]);

  test("at the start the base still applies, one token above it the whole request pays the tier", () => {
    expect(costOf(tiered, { inputTokens: 200_000, outputTokens: 10 })).toBe(200_010_000);
    expect(costOf(tiered, { inputTokens: 200_001, outputTokens: 10 })).toBe(2 * 200_011_000);
  });

  test("the bound takes the dearest tier the request can reach, even when a higher tier is cheaper", () => {
    const odd = tokenPrice([flat(5_000_000), flat(1_000_000, 100)]);
    expect(boundOf(odd, 1_000)).toEqual({ fixed: 5_000_000_000, perToken: 5_000_000 });
    expect(boundOf(tiered, 200_000)).toEqual({ fixed: 200_000 * 1_000_000, perToken: 1_000_000 });
  });
});

describe("a bound is the worst case", () => {
  test("input at the dearest of input, cache read and cache write; output at the dearer of output and reasoning", () => {
    const list = { ...flat(1), input: 10, cacheRead: 3, cacheWrite: 12, output: 50, reasoning: 70 };
    expect(boundOf(priceFor(tokenPrice([list]), kinds), 100)).toEqual({ fixed: 1_200, perToken: 70 });
  });

  test("audio, images, video and hour-long cache writes count when the prompt has them, or when nobody knows", () => {
    const list = { ...flat(1), input: 10, cacheWriteHour: 20, audio: 90, image: 30, video: 40 };
    const compiled = tokenPrice([list]);
    expect(boundOf(compiled, 1).fixed).toBe(90);
    expect(boundOf(priceFor(compiled, kinds), 1).fixed).toBe(10);
    expect(boundOf(priceFor(compiled, { ...kinds, hourCache: true }), 1).fixed).toBe(20);
    expect(boundOf(priceFor(compiled, { ...kinds, image: true }), 1).fixed).toBe(30);
    expect(boundOf(priceFor(compiled, { ...kinds, video: true }), 1).fixed).toBe(40);
    expect(boundOf(priceFor(compiled, { ...kinds, audio: true }), 1).fixed).toBe(90);
  });

  test("a prompt with audio is also charged as audio: its usage does not say how much of it was", () => {
    const spoken = priceFor(tokenPrice([{ ...flat(1_000), audio: 9_000 }]), { ...kinds, audio: true });
    expect(costOf(spoken, { inputTokens: 10, outputTokens: 0 })).toBe(90);
    const heard = tokenPrice([{ ...flat(1_000), cacheReadMedia: 5_000 }]);
    for (const kind of ["audio", "image", "video"]) {
      const cached = { inputTokens: 10, outputTokens: 0, cacheReadTokens: 10 };
      expect(costOf(priceFor(heard, { ...kinds, [kind]: true }), cached)).toBe(50);
      expect(costOf(priceFor(heard, kinds), cached)).toBe(10);
    }
    const hour = priceFor(tokenPrice([{ ...flat(1_000), cacheWriteHour: 2_000 }]), { ...kinds, hourCache: true });
    expect(costOf(hour, { inputTokens: 10, outputTokens: 0, cacheWriteTokens: 10 })).toBe(20);
  });

  test("the price for the same kinds is compiled once", () => {
    const compiled = tokenPrice([flat(1)]);
    expect(priceFor(compiled, kinds)).toBe(priceFor(compiled, { ...kinds }));
    const list = { ...flat(1), audio: 3, image: 5, video: 7, cacheWriteHour: 11 };
    const shared = tokenPrice([list]);
    for (let mask = 0; mask < 16; mask++) {
      const some = { audio: (mask & 1) > 0, image: (mask & 2) > 0, video: (mask & 4) > 0, hourCache: (mask & 8) > 0 };
      expect(priceFor(shared, some)).toEqual(priceFor(tokenPrice([list]), some));
    }
  });

  test("a fee for each request is in the cost and in the bound", () => {
    const withFee = tokenPrice([{ ...flat(0), request: 5_000 }]);
    expect(boundOf(withFee, 0)).toEqual({ fixed: 5_000, perToken: 0 });
    expect(costOf(withFee, { inputTokens: 0, outputTokens: 0 })).toBe(5);
  });

  test("it is rounded up once, also above 2^53 pico-USD", () => {
    expect(boundCost({ fixed: 1, perToken: 333 }, 3)).toBe(1);
    expect(boundCost({ fixed: 2, perToken: 333 }, 3)).toBe(2);
    expect(boundCost({ fixed: 9e15, perToken: 1e11 }, 1_000_001)).toBe(9e12 + 1_000_001e8);
  });

  test("a product above 2^53 that a double would round down is rounded up", () => {
    const inputTokens = 90_072_001;
    const dear = 99_999_999_999;
    expect(BigInt(inputTokens * dear)).toBeLessThan(BigInt(inputTokens) * BigInt(dear));
    const { fixed } = boundOf(tokenPrice([flat(dear)]), inputTokens);
    expect(BigInt(fixed)).toBeGreaterThanOrEqual(BigInt(inputTokens) * BigInt(dear));
    expect(fixed / (inputTokens * dear)).toBeCloseTo(1, 12);
  });

  test.each([[-1], [1.5], [Number.NaN], [Infinity]])("%d input tokens are refused", (inputTokens) => {
    expect(() => boundOf(price(1, 1), inputTokens)).toThrow(ConfigError);
  });

  test("property: no usage within the bound costs more, whatever its cache split, tier and moment", () => {
    fc.assert(
      fc.property(
        anyPrice,
        usage,
        tokens,
        tokens,
        fc.boolean(),
        fc.boolean(),
        ([now, later], used, moreIn, moreOut, audio, hourCache) => {
          // Settled at today's prices or at any of those the list may turn to meanwhile.
          for (const list of [now, ...later]) {
            const compiled = tokenPrice(list, [...now, ...later.flat()]);
            for (const priced of [compiled, priceFor(compiled, { ...kinds, audio, hourCache })]) {
              const bound = boundOf(priced, used.inputTokens + moreIn);
              expect(boundCost(bound, used.outputTokens + moreOut)).toBeGreaterThanOrEqual(costOf(priced, used));
            }
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("property: a longer prompt never has a smaller bound", () => {
    fc.assert(
      fc.property(anyPrice, tokens, tokens, ([list], inputTokens, more) => {
        const compiled = tokenPrice(list);
        const [small, large] = [boundOf(compiled, inputTokens), boundOf(compiled, inputTokens + more)];
        expect(large.fixed).toBeGreaterThanOrEqual(small.fixed);
        expect(large.perToken).toBeGreaterThanOrEqual(small.perToken);
      }),
    );
  });
});

describe("a price is free only when nothing of it costs", () => {
  test("all zero: free; a fee, an output or a later price: not", () => {
    expect(isFree(price(0, 0))).toBe(true);
    expect(isFree(price(0, 0.001))).toBe(false);
    expect(isFree(price(0, 0, { cacheWriteUsdPerMTok: 1 }))).toBe(false);
    expect(isFree(tokenPrice([{ ...flat(0), request: 1 }]))).toBe(false);
    expect(isFree(tokenPrice([flat(0)], [flat(0), flat(1)]))).toBe(false);
  });
});
