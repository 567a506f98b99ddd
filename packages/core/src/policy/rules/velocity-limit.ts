import type { Scope, Shortfall } from "../../domain/claim.js";
import type { Context } from "../../domain/context.js";
import { RuleDecision, type Metadata } from "../decision.js";
import { readOptions, checkScope, checkWindowSeconds, limited, MAX_COUNT, type Limit } from "../options.js";
import { BreakerRule, type RuleOptions } from "../rule.js";

export interface VelocityLimitOptions extends RuleOptions {
  /** Calls in any `windowSeconds`. Calls count when they are let through, also when they fail. */
  maxRequests: Limit;
  /** Seconds, 0.001 to a year. */
  windowSeconds: number;
  /** Default "workspace". */
  scope?: Scope | undefined;
}

/** Circuit breaker on the request rate: never more than `maxRequests` in any true window. */
export class VelocityLimitRule extends BreakerRule {
  readonly windowSeconds: number;
  readonly scope: Scope;
  readonly evaluate: (context: Context) => RuleDecision | Promise<RuleDecision>;

  constructor(given: VelocityLimitOptions) {
    const options = readOptions("VelocityLimitRule", given);
    super(options, "VelocityLimitRule");
    const { maxRequests, windowSeconds, scope = "workspace" } = options;
    checkScope(this.name, scope);
    checkWindowSeconds(this.name, windowSeconds);
    this.windowSeconds = windowSeconds;
    this.scope = scope;
    this.evaluate = limited(
      this.name,
      "maxRequests",
      maxRequests,
      (limit) =>
        RuleDecision.claim({ scope, measure: "calls", window: { kind: "sliding", ms: windowSeconds * 1000 }, limit }),
      MAX_COUNT,
    );
  }

  explain(_context: Context, { settled, limit }: Shortfall): Metadata {
    return { count: settled, maxRequests: limit, windowSeconds: this.windowSeconds, scope: this.scope };
  }
}
