/** What is known of a run so far. Money in USD. */
export interface Observed {
  readonly spent: number;
  /** Set aside for calls that are under way. */
  readonly held: number;
  /** Calls let through. */
  readonly calls: number;
  /** Calls whose cost is known: those behind `mean` and `variance`. */
  readonly known: number;
  /** Moving average cost of a call (α = 0.3) and its variance. */
  readonly mean: number;
  readonly variance: number;
}

/** How long the run may take. */
export interface Outlook {
  /** As its owner said. */
  readonly expectedCalls?: number | undefined;
  /** Ended runs of its name. */
  readonly past?: Past | undefined;
}

/** How long ended runs of a name were, in calls: the last 10 at most. */
export interface Past {
  readonly runs: number;
  /** Their mean. */
  readonly calls: number;
  /** The shortest and the longest. */
  readonly least: number;
  readonly most: number;
}

/** What the run will have cost at its end, in USD: as likely as not at `expected`, hardly under `low` or over `high`. */
export interface Projection {
  readonly low: number;
  readonly expected: number;
  readonly high: number;
}

export type Confidence = "low" | "medium" | "high";

/** Below it there is no forecast. */
const LEAST_CALLS = 3;
/** Calls still to come where nothing is known. */
const USUAL_REMAINING = 20;
/** Ended runs from which on their length counts also for the low end. */
const TRUSTED_RUNS = 3;
/** Lengths are met to a quarter: the low end believes in three quarters of a plan, the high end in five. */
const PLAN = { least: 0.75, most: 1.25 };
/** The weight of the latest cost in the moving average. */
const ALPHA = 0.3;
/** The 10 % and 90 % quantiles of a normal distribution lie this many standard deviations from its middle. */
const DEVIATIONS = 1.28;

/** Calls still to come; null where nothing is known of the run's length. */
export function callsRemaining(calls: number, { expectedCalls, past }: Outlook): number | null {
  const total = expectedCalls ?? (past !== undefined && past.runs > 0 ? past.calls : undefined);
  return total === undefined ? null : Math.max(0, total - calls);
}

/**
 * expected = spent + open + r·e with e the moving average cost of a call, r the calls still to come and open what calls under
 * way will cost (e each, at most what is held). None before 3 calls.
 *
 * The band is that of r costs of variance v around an average that is itself uncertain: ∓ 1.28 √(v (r + r²·α ÷ (2 − α))), with
 * v = variance ÷ (1 − 0.7^known) because the moving variance begins at 0. Its ends count other lengths than its middle: low three
 * quarters of the plan, or of the shortest run of the name, and nothing more to come where neither is known; high five
 * quarters of the plan, or the longest run, else 20 more. So low is what the run costs at least: only one that can hardly stay within its
 * budget passes it there.
 */
export function project(observed: Observed, outlook: Outlook): Projection | undefined {
  const { spent, held, calls, known, mean, variance } = observed;
  if (calls < LEAST_CALLS) return undefined;
  const { expectedCalls, past } = outlook;
  const more = (total: number) => Math.max(0, total - calls);
  const underWay = held > 0 ? Math.max(0, calls - known) : 0;
  const begun = spent + Math.min(held, underWay * mean);
  const v = known > 0 ? variance / (1 - (1 - ALPHA) ** known) : 0;
  const deviation = (r: number) => DEVIATIONS * Math.sqrt(v * (r + (r * r * ALPHA) / (2 - ALPHA)));
  const isTrusted = past !== undefined && past.runs >= TRUSTED_RUNS;
  const remaining = callsRemaining(calls, outlook) ?? USUAL_REMAINING;
  const least =
    expectedCalls !== undefined ? more(PLAN.least * expectedCalls) : isTrusted ? more(PLAN.least * past.least) : 0;
  const most =
    expectedCalls !== undefined ? more(PLAN.most * expectedCalls) : past !== undefined ? more(past.most) : remaining;
  const expected = begun + remaining * mean;
  const low = begun + least * mean - deviation(least + underWay);
  const high = begun + most * mean + deviation(most + underWay);
  return { low: Math.min(expected, Math.max(spent, low)), expected, high: Math.max(expected, high) };
}

export function confidenceOf(calls: number): Confidence {
  return calls < 5 ? "low" : calls < 15 ? "medium" : "high";
}
