/** Where a mission differs from the origin's on purpose: what happens here, by the number of the vector's step, and why. */
export interface MissionException {
  readonly ours: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly reason: string;
}

const OPEN = 'an open mission is "running": "completed" is an end';
const SPENT = "a budget that is spent is a breach: the origin lets one more call through";

export const missionExceptions: Readonly<Record<string, MissionException>> = {
  "mission.no_projection_before_3_calls": {
    ours: { "3 expect": { status: "running" }, "5 expect": { status: "running" } },
    reason: OPEN,
  },
  "mission.nested_inner_killed_outer_continues": {
    ours: { "9 expect": { status: "running", call_count: 4, spent: 0.4 } },
    reason: OPEN,
  },
  "mission.nested_outer_killed_halts_inner": {
    ours: { "6 expect": { status: "running" }, "7 call": { throws: "budget_exceeded" } },
    reason: OPEN,
  },
  "mission.projection_equal_to_budget_is_not_a_breach": {
    ours: { "4 expect": { projected_final_cost: 0.5, status: "running" }, "6 expect": { status: "killed" } },
    reason: `${OPEN}; a forecast equal to the budget is no breach here either, but ${SPENT}`,
  },
  "mission.spend_equal_to_budget_is_not_a_breach": {
    ours: { "3 expect": { status: "killed" }, "4 call": { throws: "budget_exceeded" }, "5 expect": { spent: 1 } },
    reason: SPENT,
  },
  "mission.pause_is_reported_as_killed": {
    ours: {
      "4 call": { throws: "budget_exceeded", error: { metadata: { action: "pause" } } },
      "5 expect": { status: "paused" },
    },
    reason: "a defect without successor_expect: a pause is a pause, and a raise lets the run go on where it stopped",
  },
  "mission.callback_continue_reasks_every_call": {
    ours: { "7 expect": { call_count: 5, spent: 0.5, status: "running", callback_calls: 2, event_count: 0 } },
    reason:
      "the callback is asked once about the forecast and once about the spent budget, not at every call; the hard stop stays " +
      "armed whatever it answers, so the sixth call is refused",
  },
  "mission.callback_unknown_answer_is_continue": {
    ours: { "4 call": { throws: "budget_exceeded" }, "7 expect": { status: "paused", call_count: 3 } },
    reason: "a defect: an answer that is none pauses the mission, so that nothing passes and nothing is lost",
  },
  "mission.zero_and_unknown_cost_calls_count": {
    ours: { "4 expect": { call_count: 3, burn_rate: 0, spent: 0.0000375 } },
    reason:
      "a defect: a usage that is not known is settled at the call's bound, never at 0, and is no part of the average",
  },
  "mission.rolling_average_last_10_only": {
    ours: { "4 expect": { projected_final_cost: 1 } },
    reason: "the mean length of the last ten missions is reduced by the calls already made: 10 − 3 are still to come",
  },
  "mission.nested_innermost_downgrade_wins": {
    ours: {
      "2 call": { sent_model: "gpt-4o" },
      "3 call": { throws: "budget_exceeded" },
      "5 call": { throws: "budget_exceeded" },
    },
    reason: "a downgrade leaves the hard stop armed: both budgets are spent, so no model may be called any more",
  },
  "mission.failed_provider_call_is_not_counted": {
    ours: { "2 expect": { call_count: 1, spent: 0 } },
    reason:
      "a call that was let through counts as a call, or a loop of failing calls would never end; it costs nothing",
  },
};
