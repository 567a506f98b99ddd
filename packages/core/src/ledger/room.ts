import { amountOf } from "./hold.js";
import type { Meter, MeterClaim, Shortage } from "./ledger.js";
import { readingOf, retryAfter, seriesIn, settledIn, sweep, type Series } from "./series.js";
import type { Shelf } from "./shelf.js";
import { leftIn, type Slice } from "./slice.js";

/** The output a call may be granted: all of `want`, or anything down to `floor`. */
interface Range {
  readonly floor: number;
  readonly want: number;
}

export function findSeries(shelf: Shelf, meter: Meter): Series | undefined {
  return seriesIn(shelf.account(meter.account)?.s, meter.series);
}

/** The largest n a claim has room for, at most `want`; −1 when not even its fixed part fits. */
export function roomFor(shelf: Shelf, claim: MeterClaim, want: number, slice: Slice | undefined, now: number): number {
  const { meter, fixed, perToken, scale } = claim;
  const series = findSeries(shelf, meter);
  let settled = 0;
  let held = 0;
  if (series !== undefined) {
    sweep(series, meter, now);
    settled = settledIn(series, meter, now);
    held = series.h - leftIn(slice, meter);
  }
  const limit = limitOf(shelf, claim);
  const available = limit - settled - held;
  // Every test is the one that fails for NaN.
  if (!(settled < limit && available >= 0)) return -1;
  if (amountOf(claim, want) <= available) return want;
  let n = perToken === 0 ? -1 : Math.floor((available * scale - fixed) / perToken);
  while (n >= 0 && amountOf(claim, n) > available) n--;
  return n >= 0 ? Math.min(n, want) : -1;
}

/** The claims without room for `least`. */
export function shortagesOf(
  shelf: Shelf,
  claims: readonly MeterClaim[],
  range: Range,
  least: number,
  slice: Slice | undefined,
  now: number,
): Shortage[] {
  const shortages: Shortage[] = [];
  for (let i = 0; i < claims.length; i++) {
    const claim = claims[i]!;
    if (claim.limit !== Infinity && roomFor(shelf, claim, range.want, slice, now) < least)
      shortages.push(shortageOf(shelf, claims, i, range, slice, now));
  }
  return shortages;
}

/** What the claim at `index` saw, and what it needed. */
export function shortageOf(
  shelf: Shelf,
  claims: readonly MeterClaim[],
  index: number,
  range: Range,
  slice: Slice | undefined,
  now: number,
): Shortage {
  const claim = claims[index]!;
  const series = findSeries(shelf, claim.meter);
  const { settled, held: all } = readingOf(series, claim.meter, now);
  const held = all - leftIn(slice, claim.meter);
  const limit = limitOf(shelf, claim);
  const want = amountOf(claim, range.want);
  const retryAfterMs = series && retryAfter(series, claim.meter, want, limit, now);
  const shortage = { claim: index, limit, settled, held, want, floor: amountOf(claim, range.floor) };
  return retryAfterMs === undefined ? shortage : { ...shortage, retryAfterMs };
}

function limitOf(shelf: Shelf, { limit, meter }: MeterClaim): number {
  return limit === "stored" ? (shelf.account(meter.account)?.state?.limitDelta ?? 0) : limit;
}
