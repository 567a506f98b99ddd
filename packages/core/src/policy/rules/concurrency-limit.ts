import type { Scope, Shortfall } from "../../domain/claim.js";
import type { Context } from "../../domain/context.js";
import { RuleDecision, type Metadata } from "../decision.js";
import { readOptions, checkScope, limited, MAX_COUNT, type Limit } from "../options.js";
import { BaseRule, type RuleOptions } from "../rule.js";

export interface ConcurrencyLimitOptions extends RuleOptions {
  /** Calls under way at once. Further ones wait, at most the policy's `waitMs`, then are refused. */
  maxConcurrent: Limit;
  /** Default "workspace". */
  scope?: Scope | undefined;
}

/** At most `maxConcurrent` calls under way. A crashed process's calls come back at the end of their lease. */
export class ConcurrencyLimitRule extends BaseRule {
  readonly scope: Scope;
  readonly evaluate: (context: Context) => RuleDecision | Promise<RuleDecision>;

  constructor(given: ConcurrencyLimitOptions) {
    const options = readOptions("ConcurrencyLimitRule", given);
    super(options, "ConcurrencyLimitRule");
    const { maxConcurrent, scope = "workspace" } = options;
    checkScope(this.name, scope);
    this.scope = scope;
    this.evaluate = limited(
      this.name,
      "maxConcurrent",
      maxConcurrent,
      (limit) => RuleDecision.claim({ scope, measure: "in-flight", window: { kind: "lifetime" }, limit }),
      MAX_COUNT,
    );
  }

  explain(_context: Context, { held, limit }: Shortfall): Metadata {
    return { inFlight: held, maxConcurrent: limit, scope: this.scope };
  }
}
