/** Where we differ from a vector on purpose: what happens here, and why. */
export interface Exception {
  readonly ours: Record<string, unknown>;
  readonly reason: string;
  /** The vector holds once its labels are strings. */
  readonly holdsWithStrings?: boolean;
  /** Only at this distance (ms) of the present from the beginning of a sub-bucket; elsewhere the vector holds. */
  readonly onlyAtMs?: number;
}

const STRINGS = "labels are strings here: a number is refused by name, and as a string the vector holds";

export const exceptions: Readonly<Record<string, Exception>> = {
  "labels.precedence": {
    ours: { error: "INVALID_INPUT", field: "labels.a" },
    reason: STRINGS,
    holdsWithStrings: true,
  },
  "engine.last_downgrade_wins": {
    ours: { error: "INVALID_INPUT", field: "labels.t" },
    reason: STRINGS,
    holdsWithStrings: true,
  },
  "engine.later_rules_see_the_original_model": {
    ours: { error: "INVALID_INPUT", field: "labels.t" },
    reason: STRINGS,
    holdsWithStrings: true,
  },
  "velocity.outside_window_ignored": {
    ours: { allow: false, metadata: { count: 50 } },
    reason:
      "a sliding window frees at most a thirtieth of itself late, so that no true window ever holds more than the limit: " +
      "calls of 61 s ago may still count in a window of 60 s, those of 62 s ago do not",
    onlyAtMs: 1_000,
  },
  "monthly.unknown_cost_counts_zero": {
    ours: { allow: true, history: "UNKNOWN_MODEL" },
    reason:
      "a defect without successor_expect: a call whose price is not known is refused before it is sent, so no unpriced spend can pile up",
  },
  "forecast.first_day_diluted_by_lookback": {
    ours: { allow: true, action: null },
    reason:
      "a defect without successor_expect: the contract keeps the average over lookbackDays, whatever the account's age, and says so",
  },
};
