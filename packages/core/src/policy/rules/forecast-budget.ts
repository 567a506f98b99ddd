import type { Claim, Shortfall } from "../../domain/claim.js";
import type { Context } from "../../domain/context.js";
import { NANO, toNano } from "../../domain/money.js";
import { ConfigError } from "../../errors/config-error.js";
import { RuleDecision, type Metadata } from "../decision.js";
import { readOptions, limited, type Limit } from "../options.js";
import { BaseRule, type RuleOptions } from "../rule.js";

export interface ForecastBudgetOptions extends RuleOptions {
  /** USD a month that the projection must stay under. */
  monthlyBudgetUsd: Limit;
  /** Days the daily average is taken over, today included. 1 to 366, default 7. */
  lookbackDays?: number | undefined;
}

/** A forecast's month has 30 days. */
const MONTH_DAYS = 30;

/**
 * Blocks when spend of the last `lookbackDays` days ÷ lookbackDays × 30 has reached the budget: before the money is gone.
 * As a claim: the days' spend under ⌈budget × lookbackDays ÷ 30⌉.
 */
export class ForecastBudgetRule extends BaseRule {
  readonly lookbackDays: number;
  readonly evaluate: (context: Context) => RuleDecision | Promise<RuleDecision>;
  /** The budget behind each claim: the claim's own limit is rounded. */
  readonly #budgets = new WeakMap<Claim, number>();

  constructor(given: ForecastBudgetOptions) {
    const options = readOptions("ForecastBudgetRule", given);
    super(options, "ForecastBudgetRule");
    const days = options.lookbackDays ?? 7;
    if (!Number.isInteger(days) || days < 1 || days > 366) {
      throw new ConfigError({
        field: `${this.name}.lookbackDays`,
        value: days,
        problem: "must be a whole number of days from 1 to 366",
      });
    }
    this.lookbackDays = days;
    this.evaluate = limited(this.name, "monthlyBudgetUsd", options.monthlyBudgetUsd, (budget) => {
      const limit = Math.ceil((toNano(budget) * days) / MONTH_DAYS) / NANO;
      const claim: Claim = { scope: "workspace", measure: "usd", window: { kind: "days", days }, limit };
      this.#budgets.set(claim, budget);
      return RuleDecision.claim(claim);
    });
  }

  explain(_context: Context, { claim, settled, limit }: Shortfall): Metadata {
    const { lookbackDays } = this;
    const adjusted = limit === claim.limit ? undefined : (limit / lookbackDays) * MONTH_DAYS;
    return {
      projectedMonthlyUsd: (settled * MONTH_DAYS) / lookbackDays,
      monthlyBudgetUsd: adjusted ?? this.#budgets.get(claim),
      dailyAvgUsd: settled / lookbackDays,
    };
  }
}
