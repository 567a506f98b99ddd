import type { Scope, Shortfall } from "../../domain/claim.js";
import type { Context } from "../../domain/context.js";
import { RuleDecision, type Metadata } from "../decision.js";
import { readOptions, checkScope, checkWindowSeconds, limited, type Limit } from "../options.js";
import { BreakerRule, type RuleOptions } from "../rule.js";

export interface CostVelocityOptions extends RuleOptions {
  /** USD in any `windowSeconds`. */
  maxCostUsd: Limit;
  /** Seconds, 0.001 to a year. */
  windowSeconds: number;
  /** Default "workspace". */
  scope?: Scope | undefined;
}

/** Circuit breaker on the spend rate, e.g. $5 an hour. */
export class CostVelocityRule extends BreakerRule {
  readonly windowSeconds: number;
  readonly scope: Scope;
  readonly evaluate: (context: Context) => RuleDecision | Promise<RuleDecision>;

  constructor(given: CostVelocityOptions) {
    const options = readOptions("CostVelocityRule", given);
    super(options, "CostVelocityRule");
    const { maxCostUsd, windowSeconds, scope = "workspace" } = options;
    checkScope(this.name, scope);
    checkWindowSeconds(this.name, windowSeconds);
    this.windowSeconds = windowSeconds;
    this.scope = scope;
    this.evaluate = limited(this.name, "maxCostUsd", maxCostUsd, (limit) =>
      RuleDecision.claim({ scope, measure: "usd", window: { kind: "sliding", ms: windowSeconds * 1000 }, limit }),
    );
  }

  explain(_context: Context, { settled, limit }: Shortfall): Metadata {
    return { spentUsd: settled, maxCostUsd: limit, windowSeconds: this.windowSeconds, scope: this.scope };
  }
}
