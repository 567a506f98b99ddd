import {
  CostVelocityRule,
  ForecastBudgetRule,
  MaxCostPerRequestRule,
  MonthlyBudgetRule,
  PerUserBudgetRule,
  PolicyEngine,
  RestrictModelRule,
  TagBasedModelDowngradeRule,
  VelocityLimitRule,
  type Clock,
  type Rule,
} from "@driftlock/core";

/** The seed's first example, with room for every call of a benchmark. */
export function threeRules(): Rule[] {
  return [
    new MonthlyBudgetRule({ maxUsd: 5_000_000 }),
    new MaxCostPerRequestRule({ maxUsd: 0.1 }),
    new VelocityLimitRule({ maxRequests: 1e12, windowSeconds: 60 }),
  ];
}

/** All rules of the seed; per user where a rule can be. */
export function eightRules(scope: "workspace" | "user" = "workspace"): Rule[] {
  return [
    new MonthlyBudgetRule({ maxUsd: 5_000_000 }),
    new MaxCostPerRequestRule({ maxUsd: 0.1 }),
    new PerUserBudgetRule({ userBudgets: { power_user: 1_000_000 }, defaultMaxUsd: 1_000_000 }),
    new ForecastBudgetRule({ monthlyBudgetUsd: 5_000_000 }),
    new VelocityLimitRule({ maxRequests: 1e12, windowSeconds: 60, scope }),
    new CostVelocityRule({ maxCostUsd: 1_000_000, windowSeconds: 3_600, scope }),
    new RestrictModelRule({
      disallowedModels: ["gpt-4", "gpt-4-turbo"],
      condition: ({ labels }) => labels["plan"] === "free",
    }),
    new TagBasedModelDowngradeRule({
      condition: ({ labels }) => labels["plan"] === "free",
      downgradeTo: "gpt-4o-mini",
    }),
  ];
}

/** 1,024 characters of English. */
export const PROMPT = "The quick brown fox jumps over the lazy dog, and then it goes home again. "
  .repeat(14)
  .slice(0, 1_024);

export const USAGE = { inputTokens: 250, outputTokens: 120 };

/** A clock that goes on when told: a history of days in seconds. */
export class FastClock implements Clock {
  #now = Date.UTC(2026, 0, 5, 12);

  now(): number {
    return this.#now;
  }
  tick(ms: number): void {
    this.#now += ms;
  }
  after(): () => void {
    return () => {};
  }
}

export function engine(rules: readonly Rule[], clock?: Clock): PolicyEngine {
  return new PolicyEngine({ rules, store: "memory", clock, onListenerError: (error) => void console.error(error) });
}
