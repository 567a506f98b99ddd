/** What is counted: money, tokens (input + output), calls let through, or calls under way. */
export type Measure = "usd" | "tokens" | "calls" | "in-flight";

/** The span over which a meter counts: a view on a series, not storage. */
export type Window =
  | { readonly kind: "lifetime" }
  /** `minute` and `hour` are aligned to UTC, the others to the policy's time zone; weeks start on Monday. */
  | { readonly kind: "calendar"; readonly unit: CalendarUnit }
  /** Today and the `days` − 1 days before, in the policy's time zone. */
  | { readonly kind: "days"; readonly days: number }
  /** The last `ms` milliseconds. */
  | { readonly kind: "sliding"; readonly ms: number };

export type CalendarUnit = "minute" | "hour" | "day" | "week" | "month";

/** Where something is counted: an account's series of one measure, seen through a window. Plain data. */
export interface Meter {
  readonly account: string;
  readonly measure: Measure;
  readonly window: Window;
  /** IANA zone of calendar and day windows. */
  readonly timeZone: string;
  /** The storage key inside the account. All calendar and day windows of a measure share one day series. */
  readonly series: string;
}
