import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { project, type Observed, type Outlook } from "../src/index.js";
import { callsRemaining, confidenceOf } from "../src/projection.js";

const observed: Observed = { spent: 0.5, held: 0, calls: 5, known: 5, mean: 0.1, variance: 0 };

describe("the projection", () => {
  it("is spent + r·e, with r from the plan, else from earlier runs, else 20", () => {
    expect(project(observed, { expectedCalls: 8 })!.expected).toBeCloseTo(0.8);
    expect(project(observed, { past: { runs: 10, calls: 12, least: 4, most: 20 } })!.expected).toBeCloseTo(1.2);
    expect(project(observed, {})!.expected).toBeCloseTo(2.5);
    expect(project(observed, { expectedCalls: 2 })!.expected).toBeCloseTo(0.5);
    expect([callsRemaining(5, { expectedCalls: 8 }), callsRemaining(5, {})]).toEqual([3, null]);
  });

  it("is none before 3 calls, and more confident with more", () => {
    expect(project({ ...observed, calls: 2 }, { expectedCalls: 8 })).toBeUndefined();
    expect([4, 5, 14, 15].map(confidenceOf)).toEqual(["low", "medium", "medium", "high"]);
  });

  it("assumes at its low end that the run ends now, unless its length is known", () => {
    expect(project(observed, {})!.low).toBe(0.5);
    expect(project(observed, { past: { runs: 2, calls: 40, least: 40, most: 40 } })!.low).toBe(0.5);
    expect(project(observed, { past: { runs: 3, calls: 40, least: 40, most: 40 } })!.low).toBeCloseTo(3);
    expect(project(observed, { expectedCalls: 20 })!.low).toBeCloseTo(1.5);
  });

  it("counts at its high end five quarters of the plan, the longest run, or 20 more", () => {
    expect(project(observed, { expectedCalls: 20 })!.high).toBeCloseTo(2.5);
    expect(project(observed, { past: { runs: 3, calls: 12, least: 4, most: 35 } })!.high).toBeCloseTo(3.5);
    expect(project(observed, {})!.high).toBeCloseTo(2.5);
  });

  it("is as wide as the costs vary, and as their average is uncertain", () => {
    const { expected, high } = project(
      { ...observed, variance: 0.01, known: 1_000 },
      { past: { runs: 9, calls: 15, least: 15, most: 15 } },
    )!;
    expect(high - expected).toBeCloseTo(1.28 * Math.sqrt(0.01 * (10 + (100 * 0.3) / 1.7)), 9);
  });

  it("counts calls under way at what a call costs, and not above what is held for them", () => {
    const open = { ...observed, calls: 8 };
    expect(project({ ...open, held: 1 }, { expectedCalls: 8 })!.expected).toBeCloseTo(0.8);
    expect(project({ ...open, held: 0.15 }, { expectedCalls: 8 })!.expected).toBeCloseTo(0.65);
    expect(project(open, { expectedCalls: 8 })!.expected).toBeCloseTo(0.5);
  });
});

const money = fc.double({ min: 0, max: 9_000_000, noNaN: true });
const length = fc.integer({ min: 1, max: 1_000_000 });
const anyOutlook: fc.Arbitrary<Outlook> = fc.oneof(
  fc.record({ expectedCalls: length }),
  fc.tuple(fc.integer({ min: 1, max: 10 }), length, length, length).map(([runs, ...lengths]) => {
    const [least, calls, most] = lengths.sort((a, b) => a - b) as [number, number, number];
    return { past: { runs, calls, least, most } };
  }),
  fc.constant({}),
);
const anyObserved: fc.Arbitrary<Observed> = fc
  .record({ spent: money, held: money, calls: fc.integer({ min: 3, max: 1_000_000 }), mean: money, variance: money })
  .chain((made) => fc.record({ ...asConstants(made), known: fc.integer({ min: 1, max: made.calls }) }));

function asConstants<T extends object>(fields: T): { [Key in keyof T]: fc.Arbitrary<T[Key]> } {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, fc.constant(value as unknown)]),
  ) as never;
}

describe("whatever was observed, the projection", () => {
  it("is finite and in order, and never below what is spent", () => {
    fc.assert(
      fc.property(anyObserved, anyOutlook, (seen, outlook) => {
        const { low, expected, high } = project(seen, outlook)!;
        expect([low, expected, high].every(Number.isFinite)).toBe(true);
        expect(seen.spent <= low && low <= expected && expected <= high).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it("grows with what is spent, and is the same in cents as in dollars", () => {
    fc.assert(
      fc.property(anyObserved, anyOutlook, money, (seen, outlook, more) => {
        const now = project(seen, outlook)!;
        const later = project({ ...seen, spent: seen.spent + more }, outlook)!;
        expect(later.low >= now.low && later.expected >= now.expected && later.high >= now.high).toBe(true);
        const { spent, held, mean, variance } = seen;
        const cents = { spent: spent * 100, held: held * 100, mean: mean * 100, variance: variance * 10_000 };
        const scaled = project({ ...seen, ...cents }, outlook)!;
        expect(scaled.expected).toBeCloseTo(now.expected * 100, -Math.log10(Math.max(1, now.expected)) + 4);
        expect(scaled.high / 100 - now.high).toBeLessThanOrEqual(1e-6 * Math.max(1, now.high));
      }),
    );
  });
});
