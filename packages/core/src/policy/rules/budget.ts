import type { CalendarUnit, Measure, Scope, Shortfall, Window } from "../../domain/claim.js";
import type { Context } from "../../domain/context.js";
import { ConfigError } from "../../errors/config-error.js";
import { RuleDecision, type Metadata } from "../decision.js";
import { readOptions, checkScope, limited, MAX_COUNT, type Limit } from "../options.js";
import { BaseRule, type RuleOptions } from "../rule.js";

export interface BudgetOptions extends RuleOptions {
  /** USD; give exactly one of maxUsd, maxTokens and maxCalls. */
  maxUsd?: Limit | undefined;
  /** Input and output tokens. */
  maxTokens?: Limit | undefined;
  maxCalls?: Limit | undefined;
  /** The window's length. Default "month". */
  per?: CalendarUnit | "lifetime" | undefined;
  /** The last minute … 30 days instead of the calendar's. Default false. */
  rolling?: boolean | undefined;
  /** Default "workspace"; `{ label: "team" }` gives every value of the label a budget of its own. */
  scope?: Scope | undefined;
}

const units: readonly unknown[] = ["minute", "hour", "day", "week", "month", "lifetime"];
const MS: Readonly<Record<CalendarUnit, number>> = {
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 7 * 86_400_000,
  month: 30 * 86_400_000,
};
const measures = { maxUsd: "usd", maxTokens: "tokens", maxCalls: "calls" } as const satisfies Record<string, Measure>;

/** Any budget: USD, tokens or calls, a minute to a month or for ever, calendar or rolling, for everybody, each user or each label. */
export class BudgetRule extends BaseRule {
  readonly scope: Scope;
  readonly evaluate: (context: Context) => RuleDecision | Promise<RuleDecision>;
  readonly #option: keyof typeof measures;

  constructor(given: BudgetOptions) {
    const options = readOptions("BudgetRule", given);
    super(options, "BudgetRule");
    const { per = "month", rolling = false, scope = "workspace" } = options;
    const amounts = (Object.keys(measures) as (keyof typeof measures)[]).filter(
      (option) => options[option] !== undefined,
    );
    const [option] = amounts;
    if (option === undefined || amounts.length > 1) {
      throw new ConfigError({
        field: this.name,
        value: amounts.join(", "),
        problem: "takes exactly one of maxUsd, maxTokens and maxCalls",
      });
    }
    if (!units.includes(per)) {
      throw new ConfigError({ field: `${this.name}.per`, value: per, problem: `must be one of ${units.join(", ")}` });
    }
    if (typeof rolling !== "boolean") {
      throw new ConfigError({ field: `${this.name}.rolling`, value: rolling, problem: "must be true or false" });
    }
    checkScope(this.name, scope);
    this.scope = scope;
    this.#option = option;
    const window: Window =
      per === "lifetime"
        ? { kind: "lifetime" }
        : rolling
          ? { kind: "sliding", ms: MS[per] }
          : { kind: "calendar", unit: per };
    const decide = (limit: number) => RuleDecision.claim({ scope, measure: measures[option], window, limit });
    this.evaluate = limited(this.name, option, options[option]!, decide, option === "maxUsd" ? undefined : MAX_COUNT);
  }

  explain(_context: Context, { settled, held, limit, resetsAt }: Shortfall): Metadata {
    const { scope } = this;
    switch (this.#option) {
      case "maxUsd":
        return { spentUsd: settled, heldUsd: held, maxUsd: limit, scope, resetsAt };
      case "maxTokens":
        return { tokens: settled, heldTokens: held, maxTokens: limit, scope, resetsAt };
      case "maxCalls":
        return { calls: settled, maxCalls: limit, scope, resetsAt };
    }
  }
}
