import type { Shortfall } from "../../domain/claim.js";
import type { Context } from "../../domain/context.js";
import { USER_LABEL } from "../../domain/labels.js";
import { ConfigError, reading } from "../../errors/config-error.js";
import { RuleDecision, type Metadata } from "../decision.js";
import { readOptions, limited, type Limit } from "../options.js";
import { BaseRule, type RuleOptions } from "../rule.js";

export interface PerUserBudgetOptions extends RuleOptions {
  /** USD a calendar month by `user_id`. */
  userBudgets: Readonly<Record<string, Limit>> | ReadonlyMap<string, Limit>;
  /** USD a month of every other user. Default: no cap. */
  defaultMaxUsd?: Limit | undefined;
}

type Evaluate = (context: Context) => RuleDecision | Promise<RuleDecision>;

/** Blocks a user whose calendar month has reached their cap. Calls without a `user_id`, or without a cap, are allowed. */
export class PerUserBudgetRule extends BaseRule {
  readonly #byUser: ReadonlyMap<string, Evaluate>;
  readonly #others: Evaluate;

  constructor(given: PerUserBudgetOptions) {
    const options = readOptions("PerUserBudgetRule", given);
    super(options, "PerUserBudgetRule");
    const { userBudgets, defaultMaxUsd } = options;
    const entries = entriesOf(`${this.name}.userBudgets`, userBudgets);
    const capped = (option: string, limit: Limit) => limited(this.name, option, limit, monthOfUser);
    this.#byUser = new Map(
      entries.map(([user, limit]) => [user, capped(`userBudgets[${JSON.stringify(user)}]`, limit)]),
    );
    this.#others = defaultMaxUsd === undefined ? () => RuleDecision.allow() : capped("defaultMaxUsd", defaultMaxUsd);
  }

  evaluate(context: Context): RuleDecision | Promise<RuleDecision> {
    const user = context.labels[USER_LABEL];
    return user === undefined ? RuleDecision.allow() : (this.#byUser.get(user) ?? this.#others)(context);
  }

  explain(context: Context, { settled, held, limit, resetsAt }: Shortfall): Metadata {
    return { userId: context.labels[USER_LABEL], spentUsd: settled, heldUsd: held, maxUsd: limit, resetsAt };
  }
}

function entriesOf(field: string, budgets: unknown): [string, Limit][] {
  return reading(field, budgets, () => {
    const isGiven = typeof budgets === "object" && budgets !== null && !Array.isArray(budgets);
    const entries = !isGiven
      ? undefined
      : budgets instanceof Map
        ? [...(budgets as Map<unknown, Limit>)]
        : Object.entries(budgets);
    if (entries?.every(([user]) => typeof user === "string")) return entries as [string, Limit][];
    throw new ConfigError({ field, value: budgets, problem: "must be an object or Map of USD by user_id" });
  });
}

function monthOfUser(limit: number): RuleDecision {
  return RuleDecision.claim({ scope: "user", measure: "usd", window: { kind: "calendar", unit: "month" }, limit });
}
