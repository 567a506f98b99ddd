import { describe, expect, it } from "vitest";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { bench, costing, pass, refusal, spend } from "../engine/kit.js";

const APRIL = "2026-04-01T00:00:00.000Z";

describe("MonthlyBudgetRule", () => {
  it("blocks once the calendar month's spend has reached maxUsd", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    await spend(policy, 0.6);
    await spend(policy, 0.4);
    const { ruleName, decision } = await refusal(policy.authorize(costing(0.001)));
    expect(ruleName).toBe("MonthlyBudgetRule");
    expect(decision).toMatchObject({ allow: false, action: "block" });
    expect(decision.metadata).toStrictEqual({
      spentUsd: 1,
      heldUsd: 0,
      maxUsd: 1,
      scope: "workspace",
      resetsAt: APRIL,
    });
  });

  it("blocks a call that is too large for what is left, and says what is held", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    await spend(policy, 0.25);
    await policy.authorize(costing(0.5));
    const { decision } = await refusal(policy.authorize(costing(0.8)));
    expect(decision.metadata).toMatchObject({ spentUsd: 0.25, heldUsd: 0.5, maxUsd: 1 });
  });

  it("begins again with the month of the policy's time zone", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })], { timeZone: "America/New_York" });
    await spend(policy, 1);
    const { decision, retryAfterMs } = await refusal(policy.authorize(costing(0.1)));
    expect(decision.metadata).toMatchObject({ resetsAt: "2026-04-01T04:00:00.000Z" });
    expect(retryAfterMs).toBe(Date.parse("2026-04-01T04:00:00Z") - clock.now());

    clock.advanceTo(Date.parse("2026-04-01T03:59:59.999Z"));
    await refusal(policy.authorize(costing(0.1)));
    await pass(clock, 1);
    await spend(policy, 1);
  });

  it("keeps one month for each user with scope user, and lets calls without a user pass", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1, scope: "user" })]);
    await spend(policy, 1, { user_id: "ada" });
    const { decision } = await refusal(policy.authorize(costing(0.1, { labels: { user_id: "ada" } })));
    expect(decision.metadata).toStrictEqual({ spentUsd: 1, heldUsd: 0, maxUsd: 1, scope: "user", resetsAt: APRIL });
    await spend(policy, 1, { user_id: "bob" });
    await spend(policy, 5);
  });

  it("keeps one month for each value of a label", async () => {
    const scope = { label: "team" };
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1, scope })]);
    await spend(policy, 1, { team: "red" });
    const { decision } = await refusal(policy.authorize(costing(0.1, { labels: { team: "red" } })));
    expect(decision.metadata).toMatchObject({ spentUsd: 1, scope });
    await spend(policy, 1, { team: "blue" });
    await spend(policy, 5);
  });

  it("keeps one account for all calls when the scope names the value too", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1, scope: { label: "team", value: "red" } })]);
    await spend(policy, 0.5, { team: "blue" });
    await spend(policy, 0.5);
    await refusal(policy.authorize(costing(0.1, { labels: { team: "green" } })));
  });

  it.each([
    [{ maxUsd: -1 }, "MonthlyBudgetRule.maxUsd"],
    [{ maxUsd: Number.NaN }, "MonthlyBudgetRule.maxUsd"],
    [{ maxUsd: Infinity }, "MonthlyBudgetRule.maxUsd"],
    [{ maxUsd: 9_000_001 }, "MonthlyBudgetRule.maxUsd"],
    [{ maxUsd: "100" }, "MonthlyBudgetRule.maxUsd"],
    [{}, "MonthlyBudgetRule.maxUsd"],
    [{ maxUsd: 1, scope: "team" }, "MonthlyBudgetRule.scope"],
    [{ maxUsd: 1, scope: { label: "" } }, "MonthlyBudgetRule.scope"],
    [{ maxUsd: 1, scope: { label: "team", value: 7 } }, "MonthlyBudgetRule.scope"],
    [{ maxUsd: 1, scope: null }, "MonthlyBudgetRule.scope"],
  ])("refuses %j and names %s", (options, field) => {
    expect(() => new MonthlyBudgetRule(options as never)).toThrow(
      expect.objectContaining({ code: "INVALID_INPUT", field }),
    );
  });
});
