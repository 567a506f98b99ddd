import type { Meter } from "@driftlock/core";
import { claimOf, meterOf } from "@driftlock/core/testing";
import fc from "fast-check";

/** One step of a story about a ledger. `which` picks one of the calls held so far. */
export type Operation =
  | {
      readonly kind: "reserve";
      /** Indices of `meters`. */
      readonly on: readonly number[];
      readonly fixed: number;
      readonly perToken: number;
      readonly floor: number;
      readonly want: number;
      readonly take: "want" | "largest";
      readonly lease: { readonly ms: number; readonly onExpiry: "charge" | "release" };
      readonly named: boolean;
      /** It draws from the call picked by this. */
      readonly slice?: number | undefined;
    }
  | { readonly kind: "settle"; readonly which: number; readonly share: number; readonly known: boolean }
  | { readonly kind: "release"; readonly which: number }
  | { readonly kind: "renew"; readonly which: readonly number[]; readonly ms: number }
  | { readonly kind: "check"; readonly on: readonly number[]; readonly fixed: number }
  | { readonly kind: "amend"; readonly addLimit: number; readonly once: number | undefined }
  | { readonly kind: "tick"; readonly ms: number };

const zone = "America/New_York";
const ada = "label:user_id:ada";

/** Several accounts, measures and windows; some share a series. Each with its limit. */
export const meters: readonly { readonly meter: Meter; readonly limit: number }[] = [
  { meter: meterOf("workspace", "usd", { kind: "lifetime" }), limit: 600 },
  { meter: meterOf("workspace", "usd", { kind: "calendar", unit: "month" }, zone), limit: 300 },
  { meter: meterOf("workspace", "usd", { kind: "calendar", unit: "day" }, zone), limit: 150 },
  { meter: meterOf("workspace", "usd", { kind: "days", days: 7 }, zone), limit: 250 },
  { meter: meterOf("workspace", "usd", { kind: "sliding", ms: 60_000 }), limit: 120 },
  { meter: meterOf("workspace", "in-flight", { kind: "lifetime" }), limit: 4 },
  { meter: meterOf(ada, "usd", { kind: "calendar", unit: "week" }, zone), limit: 160 },
  { meter: meterOf(ada, "calls", { kind: "sliding", ms: 10_000 }), limit: 5 },
  { meter: meterOf(ada, "calls", { kind: "calendar", unit: "hour" }), limit: 12 },
  { meter: meterOf(ada, "tokens", { kind: "sliding", ms: 3_600_000 }), limit: 400 },
];

/** The claims of a reserve or check; the same amount(n) on money and tokens, one on calls and slots. */
export function claimsOf({ on, fixed, perToken = 0 }: { on: readonly number[]; fixed: number; perToken?: number }) {
  return on.map((index) => {
    const { meter, limit } = meters[index]!;
    const counts = meter.measure === "calls" || meter.measure === "in-flight";
    return claimOf(meter, limit, counts ? 1 : fixed, { perToken: counts ? 0 : perToken });
  });
}

const which = fc.nat(1_000);
const on = fc.uniqueArray(fc.nat(meters.length - 1), { minLength: 1, maxLength: 5 });
const lease = fc.record({
  ms: fc.oneof(fc.integer({ min: 1, max: 5_000 }), fc.integer({ min: 1, max: 120_000 })),
  onExpiry: fc.constantFrom("charge", "release"),
});

const reserve = fc
  .record({
    kind: fc.constant("reserve"),
    on,
    fixed: fc.nat(40),
    perToken: fc.nat(3),
    floor: fc.nat(10),
    more: fc.nat(20),
    take: fc.constantFrom("want", "largest"),
    lease,
    named: fc.boolean(),
  })
  .map(({ more, ...rest }) => ({ ...rest, want: rest.floor + more }));

const tick = fc.record({
  kind: fc.constant("tick"),
  ms: fc.oneof(
    { arbitrary: fc.nat(3_000), weight: 6 },
    { arbitrary: fc.nat(90_000), weight: 4 },
    { arbitrary: fc.nat(86_400_000), weight: 2 },
    { arbitrary: fc.nat(20 * 86_400_000), weight: 1 },
  ),
});

const others = [
  {
    arbitrary: fc.record({ kind: fc.constant("settle"), which, share: fc.nat(150), known: fc.boolean() }),
    weight: 6,
  },
  { arbitrary: fc.record({ kind: fc.constant("release"), which }), weight: 3 },
  {
    arbitrary: fc.record({
      kind: fc.constant("renew"),
      which: fc.array(which, { minLength: 1, maxLength: 3 }),
      ms: fc.integer({ min: 1, max: 60_000 }),
    }),
    weight: 2,
  },
  { arbitrary: fc.record({ kind: fc.constant("check"), on, fixed: fc.nat(100) }), weight: 1 },
  {
    arbitrary: fc.record({
      kind: fc.constant("amend"),
      addLimit: fc.integer({ min: -50, max: 50 }),
      once: fc.option(fc.nat(3), { nil: undefined }),
    }),
    weight: 1,
  },
  { arbitrary: tick, weight: 6 },
];

function storyOf(calls: fc.Arbitrary<unknown>): fc.Arbitrary<readonly Operation[]> {
  const operation = fc.oneof({ arbitrary: calls, weight: 8 }, ...others) as fc.Arbitrary<Operation>;
  return fc.array(operation, { minLength: 1, maxLength: 60, size: "max" });
}

export const story = storyOf(reserve);

/** Half of the calls draw from another one: a slice. */
export const storyWithSlices = storyOf(
  fc.tuple(reserve, fc.option(which, { nil: undefined })).map(([call, slice]) => ({ ...call, slice })),
);

/** Where stories begin: shortly before a change of the clock, a turn of the month, and any time. */
export const beginning: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(
    Date.UTC(2026, 2, 8, 4, 59, 50),
    Date.UTC(2026, 2, 8, 6, 59, 58),
    Date.UTC(2026, 10, 1, 3, 59, 55),
    Date.UTC(2028, 1, 29, 4, 59, 30),
  ),
  fc.integer({ min: Date.UTC(2026, 0), max: Date.UTC(2027, 0) }),
);
