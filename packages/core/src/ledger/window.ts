import type { Measure, Window } from "../domain/claim.js";
import { calendarOf, firstDayOf, nextFirstDayOf } from "./calendar.js";
import type { Meter } from "./ledger.js";

/** A sliding window counts this many sub-buckets and the current one: never over the limit in any true window. */
export const SUB_BUCKETS = 30;
/** Day series keep at least this many days: the longest month, and a day for late corrections. */
export const MIN_DAYS_KEPT = 32;
const CLOCK_MS = { minute: 60_000, hour: 3_600_000 } as const;

/** A window's place on its series at an instant: the buckets `first … current` count, older than `kept` ones are forgotten. */
export interface Span {
  first: number;
  current: number;
  kept: number;
}

/** The storage key of a window's series inside an account. */
export function seriesOf(measure: Measure, window: Window, timeZone: string): string {
  switch (window.kind) {
    case "lifetime":
      return `${measure}/life`;
    case "sliding":
      return `${measure}/slide/${window.ms}`;
    case "days":
      return `${measure}/days/${timeZone}`;
    case "calendar":
      return window.unit === "minute" || window.unit === "hour"
        ? `${measure}/${window.unit}`
        : `${measure}/days/${timeZone}`;
  }
}

/** Writes the span of a meter at `at` (ms) into `into`: called for every claim of every call, so it allocates nothing. */
export function spanAt(meter: Meter, at: number, into: Span): Span {
  const { window } = meter;
  switch (window.kind) {
    case "lifetime":
      into.first = into.current = into.kept = 0;
      break;
    case "sliding":
      into.current = Math.floor((at * SUB_BUCKETS) / window.ms);
      into.first = into.kept = into.current - SUB_BUCKETS;
      break;
    case "days":
      into.current = calendarOf(meter.timeZone).dayAt(at);
      into.first = into.current - window.days + 1;
      into.kept = into.current - Math.max(window.days, MIN_DAYS_KEPT);
      break;
    case "calendar":
      if (window.unit === "minute" || window.unit === "hour") {
        into.first = into.current = into.kept = Math.floor(at / CLOCK_MS[window.unit]);
      } else {
        into.current = calendarOf(meter.timeZone).dayAt(at);
        into.first = firstDayOf(window.unit, into.current);
        into.kept = into.current - MIN_DAYS_KEPT;
      }
      break;
  }
  return into;
}

/** The instant (ms) at which bucket `bucket` stops counting in the window; Infinity for a lifetime. */
export function leavesAt(meter: Meter, bucket: number): number {
  const { window } = meter;
  switch (window.kind) {
    case "lifetime":
      return Infinity;
    case "sliding":
      return Math.ceil(((bucket + SUB_BUCKETS + 1) * window.ms) / SUB_BUCKETS);
    case "days":
      return calendarOf(meter.timeZone).startOf(bucket + window.days);
    case "calendar":
      return window.unit === "minute" || window.unit === "hour"
        ? (bucket + 1) * CLOCK_MS[window.unit]
        : calendarOf(meter.timeZone).startOf(nextFirstDayOf(window.unit, bucket));
  }
}

/** The instant (ms) at which the window that holds `at` has turned over; Infinity for a lifetime. */
export function resetsAt(meter: Meter, at: number): number {
  return leavesAt(meter, spanAt(meter, at, { first: 0, current: 0, kept: 0 }).current);
}

/** How long an amount stamped now is remembered at least (ms). */
export function keptMs({ measure, window }: Meter): number {
  if (measure === "in-flight") return 0;
  switch (window.kind) {
    case "lifetime":
      return Infinity;
    case "sliding":
      return window.ms * 2;
    case "days":
      return (Math.max(window.days, 32) + 2) * 86_400_000;
    case "calendar":
      return window.unit === "minute" || window.unit === "hour" ? 7_200_000 : 34 * 86_400_000;
  }
}
