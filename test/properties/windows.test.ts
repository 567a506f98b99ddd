import { MemoryLedger, type Ledger, type Meter, type Window } from "@driftlock/core";
import { claimOf, ManualClock, meterOf, requestOf } from "@driftlock/core/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countsIn, zones } from "./civil-time.js";
import { patient, runs } from "./runs.js";

const DAY = 86_400_000;
const windows: readonly Window[] = [
  { kind: "calendar", unit: "minute" },
  { kind: "calendar", unit: "hour" },
  { kind: "calendar", unit: "day" },
  { kind: "calendar", unit: "week" },
  { kind: "calendar", unit: "month" },
  { kind: "days", days: 1 },
  { kind: "days", days: 7 },
  { kind: "days", days: 90 },
];

/** Where zones and calendars are odd: changes of the clock, leap days, ends of months and years, a day Samoa skipped. */
const oddities = [
  "2011-12-30T10:00:00Z",
  "2024-02-29T12:00:00Z",
  "2024-04-26T00:00:00Z",
  "2024-09-07T23:00:00Z",
  "2025-03-09T07:00:00Z",
  "2025-03-30T01:00:00Z",
  "2025-04-05T15:00:00Z",
  "2025-10-04T15:30:00Z",
  "2025-10-30T21:00:00Z",
  "2025-11-02T06:00:00Z",
  "2025-12-31T23:59:59Z",
  "2026-01-01T00:00:00Z",
  "2028-02-28T23:59:59Z",
  "2100-02-28T12:00:00Z",
].map((iso) => Date.parse(iso));

const instant = fc.oneof(
  fc.integer({ min: Date.UTC(2010, 0), max: Date.UTC(2035, 0) }),
  fc.tuple(fc.constantFrom(...oddities), fc.integer({ min: -3 * DAY, max: 3 * DAY })).map(([at, off]) => at + off),
);
const step = fc.oneof(
  fc.integer({ min: 1, max: 120_000 }),
  fc.integer({ min: 1, max: 3 * DAY }),
  fc.integer({ min: 1, max: 40 * DAY }),
);

async function settled(ledger: Ledger, meter: Meter): Promise<number | undefined> {
  return (await ledger.read([meter]))[0]?.settled;
}

async function spend(ledger: Ledger, meters: readonly Meter[], usd: number): Promise<void> {
  const answer = await ledger.reserve(requestOf(meters.map((meter) => claimOf(meter, Infinity, usd))));
  if (answer.kind !== "held") throw new Error(answer.kind);
  await ledger.settle(answer.hold, { usd, tokens: 0, known: true });
}

describe("windows agree with a calendar that asks Intl about every amount", () => {
  it.each(zones)("in %s", patient, async (timeZone) => {
    const meters = windows.map((window) => meterOf("workspace", "usd", window, timeZone));
    await fc.assert(
      fc.asyncProperty(instant, fc.array(step, { minLength: 1, maxLength: 12, size: "max" }), async (start, steps) => {
        const clock = new ManualClock(start);
        const ledger = new MemoryLedger({ clock });
        const spent: { at: number; usd: number }[] = [];
        for (const [i, ms] of steps.entries()) {
          await spend(ledger, meters, 2 ** i);
          spent.push({ at: clock.now(), usd: 2 ** i });
          clock.advance(ms);
          for (const meter of meters) {
            const counted = spent.filter(({ at }) => countsIn(meter.window, at, clock.now(), timeZone));
            const sum = counted.reduce((total, { usd }) => total + usd, 0);
            expect(await settled(ledger, meter), JSON.stringify(meter.window)).toBe(sum);
          }
        }
      }),
      { numRuns: runs(1_000) },
    );
  });

  it.each(zones)("on when a window has turned, in %s", patient, async (timeZone) => {
    await fc.assert(
      fc.asyncProperty(instant, fc.constantFrom(...windows), async (start, window) => {
        const clock = new ManualClock(start);
        const ledger = new MemoryLedger({ clock });
        const meter = meterOf("workspace", "usd", window, timeZone);
        await spend(ledger, [meter], 10);
        const [shortage] = await ledger.check([claimOf(meter, 10, 1)], { floor: 0, want: 0 });
        const turns = start + shortage!.retryAfterMs!;
        expect(countsIn(window, start, turns - 1, timeZone)).toBe(true);
        expect(countsIn(window, start, turns, timeZone)).toBe(false);
        clock.advanceTo(turns - 1);
        expect(await settled(ledger, meter)).toBe(10);
        clock.advance(1);
        expect(await settled(ledger, meter)).toBe(0);
      }),
      { numRuns: runs(1_000) },
    );
  });
});
