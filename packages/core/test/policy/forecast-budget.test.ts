import { describe, expect, it } from "vitest";
import { ForecastBudgetRule } from "../../src/policy/rules/forecast-budget.js";
import { bench, costing, refusal, spend } from "../engine/kit.js";

const DAY_MS = 86_400_000;

describe("ForecastBudgetRule", () => {
  it("blocks when the days' average × 30 has reached the budget, before the budget is gone", async () => {
    const { policy } = bench([new ForecastBudgetRule({ monthlyBudgetUsd: 30 })]);
    await spend(policy, 7);
    const { ruleName, decision } = await refusal(policy.authorize(costing(0.001)));
    expect(ruleName).toBe("ForecastBudgetRule");
    expect(decision.metadata).toStrictEqual({ projectedMonthlyUsd: 30, monthlyBudgetUsd: 30, dailyAvgUsd: 1 });
  });

  it("allows a nano-dollar under it", async () => {
    const { policy } = bench([new ForecastBudgetRule({ monthlyBudgetUsd: 30 })]);
    await policy.record({ id: "almost", costUsd: 6.999_999_999 });
    await policy.authorize({ operation: "one nano-dollar", costUsd: 0.000_000_001 });
  });

  it("names the budget as it was given, also where the days' share of it is not a whole nano-dollar", async () => {
    const { policy } = bench([new ForecastBudgetRule({ monthlyBudgetUsd: 50 })]);
    await spend(policy, 11);
    await policy.record({ id: "more", costUsd: 9 });
    const { decision } = await refusal(policy.authorize(costing(0.001)));
    expect(decision.metadata).toMatchObject({ monthlyBudgetUsd: 50, dailyAvgUsd: 20 / 7 });
    expect(decision.metadata["projectedMonthlyUsd"]).toBeCloseTo((20 / 7) * 30, 9);
  });

  it("counts today and the lookbackDays − 1 days before, in the policy's time zone", async () => {
    const { policy, clock } = bench([new ForecastBudgetRule({ monthlyBudgetUsd: 30, lookbackDays: 2 })]);
    await spend(policy, 2);
    clock.advance(DAY_MS);
    await refusal(policy.authorize(costing(0.001)));
    clock.advance(DAY_MS / 2);
    await policy.authorize(costing(0.001));
  });

  it("sees the days of before it was added: the engine keeps them in any case", async () => {
    const { policy, clock } = bench([]);
    await spend(policy, 7);
    const later = bench([new ForecastBudgetRule({ monthlyBudgetUsd: 30 })], { store: policy.ledger, clock }).policy;
    await refusal(later.authorize(costing(0.001)));
  });

  it("takes a budget that is a function of the call", async () => {
    const { policy } = bench([
      new ForecastBudgetRule({ monthlyBudgetUsd: async ({ labels }) => (labels["plan"] === "free" ? 0 : null) }),
    ]);
    await refusal(policy.authorize(costing(0.001, { labels: { plan: "free" } })));
    await spend(policy, 100);
  });

  it.each([
    [{}, "monthlyBudgetUsd"],
    [{ monthlyBudgetUsd: -1 }, "monthlyBudgetUsd"],
    [{ monthlyBudgetUsd: Number.NaN }, "monthlyBudgetUsd"],
    [{ monthlyBudgetUsd: 1, lookbackDays: 0 }, "lookbackDays"],
    [{ monthlyBudgetUsd: 1, lookbackDays: 1.5 }, "lookbackDays"],
    [{ monthlyBudgetUsd: 1, lookbackDays: 367 }, "lookbackDays"],
    [{ monthlyBudgetUsd: 1, lookbackDays: "7" }, "lookbackDays"],
    [{ monthlyBudgetUsd: 1, lookbackDays: Number.NaN }, "lookbackDays"],
  ])("refuses %j and names %s", (options, field) => {
    expect(() => new ForecastBudgetRule(options as never)).toThrow(
      expect.objectContaining({ field: `ForecastBudgetRule.${field}` }),
    );
  });
});
