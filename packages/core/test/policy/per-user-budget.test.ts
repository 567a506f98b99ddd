import { describe, expect, it } from "vitest";
import { PerUserBudgetRule } from "../../src/policy/rules/per-user-budget.js";
import { bench, costing, refusal, spend } from "../engine/kit.js";

const call = (user_id: string, usd = 0.1) => costing(usd, { labels: { user_id } });

describe("PerUserBudgetRule", () => {
  it("blocks a user whose month has reached their cap, and nobody else", async () => {
    const { policy } = bench([new PerUserBudgetRule({ userBudgets: { ada: 0.2, bob: 5 } })]);
    await spend(policy, 0.2, { user_id: "ada" });
    await spend(policy, 0.2, { user_id: "bob" });
    const { ruleName, decision } = await refusal(policy.authorize(call("ada")));
    expect(ruleName).toBe("PerUserBudgetRule");
    expect(decision.metadata).toStrictEqual({
      userId: "ada",
      spentUsd: 0.2,
      heldUsd: 0,
      maxUsd: 0.2,
      resetsAt: "2026-04-01T00:00:00.000Z",
    });
    await spend(policy, 0.2, { user_id: "bob" });
  });

  it("gives everybody else the default, and no cap without one", async () => {
    const capped = bench([new PerUserBudgetRule({ userBudgets: { ada: 1 }, defaultMaxUsd: 0.1 })]).policy;
    await spend(capped, 0.1, { user_id: "eve" });
    expect((await refusal(capped.authorize(call("eve")))).decision.metadata).toMatchObject({
      userId: "eve",
      maxUsd: 0.1,
    });

    const open = bench([new PerUserBudgetRule({ userBudgets: { ada: 0.1 } })]).policy;
    await spend(open, 50, { user_id: "eve" });
  });

  it("lets calls without a user pass, and knows the user from any layer of labels", async () => {
    const rule = new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 0 });
    await spend(bench([rule]).policy, 1);
    const { policy } = bench([rule], { defaultLabels: { user_id: "ada" } });
    expect((await refusal(policy.authorize(costing(0.1)))).decision.metadata).toMatchObject({ userId: "ada" });
  });

  it("takes a Map, and limits that are functions of the call", async () => {
    const plan = new Map([
      ["ada", ({ labels }: { labels: Readonly<Record<string, string>> }) => (labels["plan"] === "pro" ? 5 : 0)],
    ]);
    const { policy } = bench([new PerUserBudgetRule({ userBudgets: plan })]);
    await refusal(policy.authorize(call("ada")));
    await policy.authorize(costing(0.1, { labels: { user_id: "ada", plan: "pro" } }));
  });

  it("keeps the names of objects apart from users: nobody is called constructor by accident", async () => {
    const { policy } = bench([new PerUserBudgetRule({ userBudgets: { ada: 1 }, defaultMaxUsd: 0 })]);
    for (const user_id of ["constructor", "toString", "hasOwnProperty"]) {
      expect((await refusal(policy.authorize(call(user_id)))).decision.metadata).toMatchObject({
        userId: user_id,
        maxUsd: 0,
      });
    }
  });

  it("reads the budgets once, at construction", async () => {
    const userBudgets: Record<string, number> = { ada: 1 };
    const { policy } = bench([new PerUserBudgetRule({ userBudgets })]);
    userBudgets["ada"] = 0;
    await policy.authorize(call("ada"));
  });

  it.each([
    [{ userBudgets: { ada: -1 } }, 'PerUserBudgetRule.userBudgets["ada"]'],
    [{ userBudgets: { ada: Number.NaN } }, 'PerUserBudgetRule.userBudgets["ada"]'],
    [{ userBudgets: new Map([["ada", "1"]]) }, 'PerUserBudgetRule.userBudgets["ada"]'],
    [{ userBudgets: {}, defaultMaxUsd: -1 }, "PerUserBudgetRule.defaultMaxUsd"],
    [{ userBudgets: [["ada", 1]] }, "PerUserBudgetRule.userBudgets"],
    [{}, "PerUserBudgetRule.userBudgets"],
    [{ userBudgets: null }, "PerUserBudgetRule.userBudgets"],
  ])("refuses %j and names %s", (options, field) => {
    expect(() => new PerUserBudgetRule(options as never)).toThrow(expect.objectContaining({ field }));
  });
});
