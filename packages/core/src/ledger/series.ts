import type { Meter, MeterReading } from "./ledger.js";
import { leavesAt, spanAt, type Span } from "./window.js";

/** Holds expire by the second: their ends are gathered in granules, so that a series knows them without knowing the calls. */
export const GRANULE_MS = 1_000;

/**
 * One measure of one account, as stored (plain JSON, short names because every store pays for them). Amounts are integers.
 * Its size is bounded by its windows, never by the number of calls.
 */
export interface Series {
  /** The storage key inside the account. */
  readonly id: string;
  /** Settled: bucket, amount, bucket, amount, … ascending. */
  b: number[];
  /** Held by open calls. */
  h: number;
  /** Open holds by the granule in which they expire: granule, charged then, released then, … ascending. */
  g: number[];
  /** Buckets kept behind the current one. */
  k: number;
  /** Lifetime money: known settlements, their moving average and variance. */
  m?: [count: number, mean: number, variance: number];
}

const span: Span = { first: 0, current: 0, kept: 0 };

/** The list of holds of a series without any. Never written to: `hold` begins a list of its own. */
const noHolds: number[] = [];

export function newSeries(id: string): Series {
  return { id, b: [], h: 0, g: noHolds, k: 0 };
}

/** The series with this id among an account's. */
export function seriesIn(all: readonly Series[] | undefined, id: string): Series | undefined {
  if (all === undefined) return undefined;
  for (let i = 0; i < all.length; i++) if (all[i]!.id === id) return all[i];
  return undefined;
}

/** The instant (ms) at which a hold with this `expiresAt` has ended: the end of its granule. */
export function endOf(expiresAt: number): number {
  return Math.ceil(expiresAt / GRANULE_MS) * GRANULE_MS;
}

/** Ends the holds whose time is over: money is stamped at the instant their lease ended, whenever this runs. */
export function sweep(series: Series, meter: Meter, now: number): void {
  const { g } = series;
  let past = 0;
  while (past < g.length && g[past]! * GRANULE_MS <= now) {
    const charged = g[past + 1]!;
    series.h -= charged + g[past + 2]!;
    if (charged !== 0) charge(series, meter, charged, g[past]! * GRANULE_MS, now);
    past += 3;
  }
  if (past > 0) g.splice(0, past);
}

/** Settled in the meter's window at `now`. The series must be swept. */
export function settledIn(series: Series, meter: Meter, now: number): number {
  const { first, current } = spanAt(meter, now, span);
  const { b } = series;
  let sum = 0;
  for (let at = b.length - 2; at >= 0 && b[at]! >= first; at -= 2) {
    if (b[at]! <= current) sum += b[at + 1]!;
  }
  return sum;
}

export function hold(series: Series, amount: number, expiresAt: number, charged: boolean): void {
  const { g } = series;
  const granule = endOf(expiresAt) / GRANULE_MS;
  series.h += amount;
  if (g.length === 0) {
    series.g = charged ? [granule, amount, 0] : [granule, 0, amount];
    return;
  }
  let at = g.length;
  while (at > 0 && g[at - 3]! > granule) at -= 3;
  if (at > 0 && g[at - 3] === granule) at -= 3;
  else g.splice(at, 0, granule, 0, 0);
  g[at + (charged ? 1 : 2)]! += amount;
}

/**
 * Takes an amount back that `hold` with the same arguments set aside and whose time is not over; false where that is not there any
 * more: a clock that was set back behind the end of a lease that had been swept.
 */
export function unhold(series: Series, amount: number, expiresAt: number, charged: boolean): boolean {
  const { g } = series;
  const granule = endOf(expiresAt) / GRANULE_MS;
  for (let at = g.length - 3; at >= 0; at -= 3) {
    if (g[at] !== granule) continue;
    series.h -= amount;
    g[at + (charged ? 1 : 2)]! -= amount;
    if (g[at + 1] !== 0 || g[at + 2] !== 0) return true;
    if (g.length === 3) series.g = noHolds;
    else g.splice(at, 3);
    return true;
  }
  return false;
}

/** Stamps an amount at `at`; nothing when that instant is older than the series remembers. */
export function charge(series: Series, meter: Meter, amount: number, at: number, now: number): void {
  const { current, kept } = spanAt(meter, now, span);
  series.k = Math.max(series.k, current - kept);
  const oldest = current - series.k;
  const { b } = series;
  if (b.length > 0 && b[0]! < oldest) forget(b, oldest);
  const bucket = at === now ? current : spanAt(meter, at, span).current;
  if (bucket < oldest) return;
  let index = b.length;
  while (index > 0 && b[index - 2]! > bucket) index -= 2;
  if (index > 0 && b[index - 2] === bucket) b[index - 1]! += amount;
  // A list that grows in place keeps room for 17 numbers or more; this one is as large as what is in it.
  else if (index === b.length) series.b = b.concat([bucket, amount]);
  else b.splice(index, 0, bucket, amount);
}

/** α = 0.3: e ← e + 0.3 (x − e), v ← 0.7 (v + 0.3 (x − e)²), with e before the update. */
export function average(series: Series, x: number): void {
  const [count, mean, variance] = series.m ?? [0, x, 0];
  const off = x - mean;
  series.m = [count + 1, mean + 0.3 * off, 0.7 * (variance + 0.3 * off * off)];
}

/** ms until enough of the window has passed that `amount` fits under `limit` with nothing held; undefined: never, or it does now. */
export function retryAfter(
  series: Series,
  meter: Meter,
  amount: number,
  limit: number,
  now: number,
): number | undefined {
  if (amount > limit || limit <= 0) return undefined;
  const { first } = spanAt(meter, now, span);
  let settled = settledIn(series, meter, now);
  if (settled < limit && settled + amount <= limit) return undefined;
  for (let at = 0; at < series.b.length; at += 2) {
    if (series.b[at]! < first) continue;
    settled -= series.b[at + 1]!;
    const leaves = leavesAt(meter, series.b[at]!);
    if (settled < limit && settled + amount <= limit) return leaves === Infinity ? undefined : leaves - now;
  }
  return undefined;
}

export function readingOf(series: Series | undefined, meter: Meter, now: number): MeterReading {
  if (series === undefined) return { settled: 0, held: 0 };
  sweep(series, meter, now);
  const settled = settledIn(series, meter, now);
  const { h: held, m } = series;
  if (m === undefined || meter.window.kind !== "lifetime") return { settled, held };
  // Not a spread: V8 takes many times as long to copy what it has just made.
  return { settled, held, count: m[0], mean: m[1], variance: m[2] };
}

function forget(b: number[], oldest: number): void {
  let past = 0;
  while (past < b.length && b[past]! < oldest) past += 2;
  b.splice(0, past);
}
