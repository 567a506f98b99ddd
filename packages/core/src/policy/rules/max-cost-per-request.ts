import type { Shortfall } from "../../domain/claim.js";
import type { Context } from "../../domain/context.js";
import { RuleDecision, type Metadata } from "../decision.js";
import { readOptions, limited, type Limit } from "../options.js";
import { BaseRule, type RuleOptions } from "../rule.js";

export interface MaxCostPerRequestOptions extends RuleOptions {
  /** USD one call may cost at worst. */
  maxUsd: Limit;
}

/**
 * Blocks a call whose worst case exceeds `maxUsd`. A call without a maximum of its own is first lowered to the output
 * tokens that `maxUsd` buys.
 */
export class MaxCostPerRequestRule extends BaseRule {
  readonly evaluate: (context: Context) => RuleDecision | Promise<RuleDecision>;

  constructor(given: MaxCostPerRequestOptions) {
    const options = readOptions("MaxCostPerRequestRule", given);
    super(options, "MaxCostPerRequestRule");
    this.evaluate = limited(this.name, "maxUsd", options.maxUsd, (limit) =>
      RuleDecision.claim({ scope: "workspace", measure: "usd", window: "request", limit }),
    );
  }

  explain(_context: Context, { needed, limit }: Shortfall): Metadata {
    return { estimatedCostUsd: needed, maxUsd: limit };
  }
}
