import { deepStrictEqual, ok } from "node:assert/strict";
import type { Measure, Window } from "../domain/claim.js";
import type { Actual, Hold, Ledger, Meter, MeterClaim, Reserved, ReserveRequest, Shortage } from "../ledger/ledger.js";
import { seriesOf } from "../ledger/window.js";

export const lifetime: Window = { kind: "lifetime" };
export const day: Window = { kind: "calendar", unit: "day" };
export const month: Window = { kind: "calendar", unit: "month" };
export const minute: Window = { kind: "sliding", ms: 60_000 };

export function meterOf(account: string, measure: Measure, window: Window, timeZone = "UTC"): Meter {
  return { account, measure, window, timeZone, series: seriesOf(measure, window, timeZone) };
}

/** A claim of `amount`, whatever n is. */
export function claimOf(
  meter: Meter,
  limit: number | "stored",
  amount = 1,
  more: Partial<MeterClaim> = {},
): MeterClaim {
  return { meter, limit, fixed: amount, perToken: 0, scale: 1, ...more };
}

/** A request with a fresh id, a lease of a minute that charges, and n = 1. */
export function requestOf(claims: readonly MeterClaim[], more: Partial<ReserveRequest> = {}): ReserveRequest {
  const lease = { ms: 60_000, onExpiry: "charge" } as const;
  return { id: crypto.randomUUID(), claims, floor: 1, want: 1, take: "want", lease, ...more };
}

/** Reserves, and fails unless it is held. */
export async function hold(
  ledger: Ledger,
  claims: readonly MeterClaim[],
  more: Partial<ReserveRequest> = {},
): Promise<Hold> {
  const answer: Reserved = await ledger.reserve(requestOf(claims, more));
  ok(answer.kind === "held", `expected to be held, got ${JSON.stringify(answer)}`);
  return answer.hold;
}

/** Reserves, and fails unless it is refused. */
export async function refused(
  ledger: Ledger,
  claims: readonly MeterClaim[],
  more: Partial<ReserveRequest> = {},
): Promise<readonly Shortage[]> {
  const answer: Reserved = await ledger.reserve(requestOf(claims, more));
  ok(answer.kind === "short", `expected to be refused, got ${JSON.stringify(answer)}`);
  return answer.shortages;
}

/** A known bill. */
export function bill(usd: number, tokens = 0): Actual {
  return { usd, tokens, known: true };
}

/** Fails unless the meter shows these amounts. */
export async function shows(
  ledger: Ledger,
  meter: Meter,
  expected: { settled?: number; held?: number },
  message?: string,
): Promise<void> {
  const [reading] = await ledger.read([meter]);
  const { settled = 0, held = 0 } = expected;
  const found = { settled: reading?.settled, held: reading?.held };
  deepStrictEqual(
    found,
    { settled, held },
    message ?? `${meter.account} ${meter.series} ${JSON.stringify(meter.window)}`,
  );
}
