import type { Scope, Shortfall } from "../../domain/claim.js";
import type { Context } from "../../domain/context.js";
import { RuleDecision, type Metadata } from "../decision.js";
import { readOptions, checkScope, limited, type Limit } from "../options.js";
import { BaseRule, type RuleOptions } from "../rule.js";

export interface MonthlyBudgetOptions extends RuleOptions {
  /** USD a calendar month, in the policy's time zone. 0 blocks every paid call. */
  maxUsd: Limit;
  /** Whose month. Default "workspace". "user" allows calls without a `user_id`. */
  scope?: Scope | undefined;
}

/** Blocks once the calendar month's spend has reached `maxUsd`. */
export class MonthlyBudgetRule extends BaseRule {
  readonly scope: Scope;
  readonly evaluate: (context: Context) => RuleDecision | Promise<RuleDecision>;

  constructor(given: MonthlyBudgetOptions) {
    const options = readOptions("MonthlyBudgetRule", given);
    super(options, "MonthlyBudgetRule");
    const { maxUsd, scope = "workspace" } = options;
    checkScope(this.name, scope);
    this.scope = scope;
    this.evaluate = limited(this.name, "maxUsd", maxUsd, (limit) =>
      RuleDecision.claim({ scope, measure: "usd", window: { kind: "calendar", unit: "month" }, limit }),
    );
  }

  explain(_context: Context, { settled, held, limit, resetsAt }: Shortfall): Metadata {
    return { spentUsd: settled, heldUsd: held, maxUsd: limit, scope: this.scope, resetsAt };
  }
}
