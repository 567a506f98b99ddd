import { describe, expect, it } from "vitest";
import type { Limit } from "../../src/policy/options.js";
import type { Rule } from "../../src/policy/rule.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { ConcurrencyLimitRule } from "../../src/policy/rules/concurrency-limit.js";
import { CostVelocityRule } from "../../src/policy/rules/cost-velocity.js";
import { ForecastBudgetRule } from "../../src/policy/rules/forecast-budget.js";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { PerUserBudgetRule } from "../../src/policy/rules/per-user-budget.js";
import { VelocityLimitRule } from "../../src/policy/rules/velocity-limit.js";
import { bench, costing, refusal } from "../engine/kit.js";

const limits: readonly (readonly [string, (limit: Limit) => Rule])[] = [
  ["MonthlyBudgetRule.maxUsd", (maxUsd) => new MonthlyBudgetRule({ maxUsd })],
  ["MaxCostPerRequestRule.maxUsd", (maxUsd) => new MaxCostPerRequestRule({ maxUsd })],
  ['PerUserBudgetRule.userBudgets["ada"]', (limit) => new PerUserBudgetRule({ userBudgets: { ada: limit } })],
  ["PerUserBudgetRule.defaultMaxUsd", (defaultMaxUsd) => new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd })],
  ["ForecastBudgetRule.monthlyBudgetUsd", (monthlyBudgetUsd) => new ForecastBudgetRule({ monthlyBudgetUsd })],
  ["VelocityLimitRule.maxRequests", (maxRequests) => new VelocityLimitRule({ maxRequests, windowSeconds: 60 })],
  ["CostVelocityRule.maxCostUsd", (maxCostUsd) => new CostVelocityRule({ maxCostUsd, windowSeconds: 60 })],
  ["BudgetRule.maxUsd", (maxUsd) => new BudgetRule({ maxUsd })],
  ["BudgetRule.maxTokens", (maxTokens) => new BudgetRule({ maxTokens })],
  ["BudgetRule.maxCalls", (maxCalls) => new BudgetRule({ maxCalls })],
  ["ConcurrencyLimitRule.maxConcurrent", (maxConcurrent) => new ConcurrencyLimitRule({ maxConcurrent })],
];
const call = costing(0.001, { labels: { user_id: "ada" } });

describe.each(limits)("%s", (option, make) => {
  it("may be 0, which lets no paid call through", async () => {
    await refusal(bench([make(0)]).policy.authorize(call));
  });

  it("may be a function of the call, sync or async, asked anew for each call", async () => {
    for (const limit of [
      (plan: string) => (plan === "free" ? 0 : 5),
      async (plan: string) => (plan === "free" ? 0 : 5),
    ]) {
      const { policy } = bench([make(({ labels }) => limit(labels["plan"] ?? "free"))]);
      await refusal(policy.authorize(call));
      await policy.authorize({ ...call, labels: { ...call.labels, plan: "pro" } });
    }
  });

  it("answered as null is no limit", async () => {
    await bench([make(() => null)]).policy.authorize(call);
    await bench([make(async () => null)]).policy.authorize(call);
  });

  it.each([Number.NaN, -1, Infinity, undefined, "5", {}])(
    "answered as %s blocks, with the option in the cause",
    async (answer) => {
      for (const limit of [() => answer, async () => answer]) {
        const violation = await refusal(bench([make(limit as never)]).policy.authorize(call));
        expect(violation.ruleName).toBe(option.split(".")[0]);
        expect(violation.cause).toMatchObject({ code: "INVALID_INPUT", field: `${option}(context)` });
      }
    },
  );

  it("that throws or rejects blocks, with the cause", async () => {
    const broken = new Error("the database is away");
    const failures: Limit[] = [
      () => {
        throw broken;
      },
      () => Promise.reject(broken),
    ];
    for (const limit of failures) {
      const violation = await refusal(bench([make(limit)]).policy.authorize(call));
      expect(violation.ruleName).toBe(option.split(".")[0]);
      expect(violation.cause).toBe(broken);
      expect(violation.decision.metadata["reason"]).toContain("the database is away");
    }
  });

  it("is seen in usage as the function answers it", async () => {
    const { policy } = bench([make(() => 7)]);
    for (const { maxUsd } of await policy.usage({ labels: { user_id: "ada" } })) {
      if (option.startsWith("Forecast")) expect(maxUsd).toBeCloseTo((7 * 7) / 30, 8);
      else expect(maxUsd).toBe(7);
    }
  });
});

describe("a limit of money", () => {
  it("is exact: ten calls of $0.01 fit under $0.10 and no eleventh", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 0.1 })]);
    for (let i = 0; i < 10; i++) await (await policy.authorize({ operation: "cent", costUsd: 0.01 })).settle();
    await refusal(policy.authorize({ operation: "nano", costUsd: 0.000_000_001 }));
  });

  it("is refused above $9 million, where integers of nano-dollars are no longer exact", () => {
    expect(() => new MonthlyBudgetRule({ maxUsd: 9_000_000 })).not.toThrow();
    expect(() => new MonthlyBudgetRule({ maxUsd: 9_000_000.01 })).toThrow(
      expect.objectContaining({ field: "MonthlyBudgetRule.maxUsd" }),
    );
  });
});
