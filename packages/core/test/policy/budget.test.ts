import { describe, expect, it } from "vitest";
import { BudgetRule, type BudgetOptions } from "../../src/policy/rules/budget.js";
import { bench, costing, refusal, spend, used } from "../engine/kit.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe("BudgetRule", () => {
  it.each([
    ["minute", "2026-03-10T12:01:00.000Z"],
    ["hour", "2026-03-10T13:00:00.000Z"],
    ["day", "2026-03-11T00:00:00.000Z"],
    ["week", "2026-03-16T00:00:00.000Z"],
    ["month", "2026-04-01T00:00:00.000Z"],
  ] as const)("limits the money of a %s and begins again after it", async (per, resetsAt) => {
    const { policy, clock } = bench([new BudgetRule({ maxUsd: 1, per })]);
    await spend(policy, 1);
    const { ruleName, decision } = await refusal(policy.authorize(costing(0.001)));
    expect(ruleName).toBe("BudgetRule");
    expect(decision.metadata).toStrictEqual({ spentUsd: 1, heldUsd: 0, maxUsd: 1, scope: "workspace", resetsAt });
    clock.advanceTo(Date.parse(resetsAt) - 1);
    await refusal(policy.authorize(costing(0.001)));
    clock.advance(1);
    await spend(policy, 1);
  });

  it.each([
    ["minute", 60_000],
    ["hour", HOUR_MS],
    ["day", DAY_MS],
    ["week", 7 * DAY_MS],
    ["month", 30 * DAY_MS],
  ] as const)("limits the money of the last %s when it rolls", async (per, ms) => {
    const { policy, clock } = bench([new BudgetRule({ maxUsd: 1, per, rolling: true })]);
    await spend(policy, 1);
    clock.advance(ms - 1);
    const { retryAfterMs } = await refusal(policy.authorize(costing(0.001)));
    expect(retryAfterMs).toBeLessThanOrEqual(1 + ms / 30);
    clock.advance(retryAfterMs!);
    await spend(policy, 1);
  });

  it("limits a lifetime, which never begins again", async () => {
    const { policy, clock } = bench([new BudgetRule({ maxUsd: 1, per: "lifetime" })]);
    await spend(policy, 1);
    clock.advance(900 * DAY_MS);
    const { decision, retryAfterMs } = await refusal(policy.authorize(costing(0.001)));
    expect(decision.metadata).toEqual({ spentUsd: 1, heldUsd: 0, maxUsd: 1, scope: "workspace" });
    expect(retryAfterMs).toBeUndefined();
  });

  it("limits tokens, input and output together", async () => {
    const { policy } = bench([new BudgetRule({ maxTokens: 100, per: "day" })]);
    const auth = await policy.authorize({ model: "flat", inputTokens: 60, maxOutputTokens: 30 });
    await refusal(policy.authorize({ model: "flat", inputTokens: 60, maxOutputTokens: 41, waitMs: 0 }));
    await auth.settle({ inputTokens: 50, outputTokens: 10 });
    const { decision } = await refusal(policy.authorize({ model: "flat", inputTokens: 41, maxOutputTokens: 0 }));
    expect(decision.metadata).toStrictEqual({
      tokens: 60,
      heldTokens: 0,
      maxTokens: 100,
      scope: "workspace",
      resetsAt: "2026-03-11T00:00:00.000Z",
    });
    await policy.authorize({ model: "flat", inputTokens: 30, maxOutputTokens: 10 });
  });

  it("lowers a call without a maximum to the tokens that are left", async () => {
    const { policy } = bench([new BudgetRule({ maxTokens: 1_000, per: "day" })]);
    expect((await policy.authorize({ model: "flat", inputTokens: 100 })).request.maxOutputTokens).toBe(900);
  });

  it("limits calls, also those that cost nothing", async () => {
    const { policy } = bench([new BudgetRule({ maxCalls: 2, per: "day" })]);
    await spend(policy, 0.1);
    await policy.authorize({ operation: "search", costUsd: 0 });
    const { decision } = await refusal(policy.authorize(costing(0)));
    expect(decision.metadata).toStrictEqual({
      calls: 2,
      maxCalls: 2,
      scope: "workspace",
      resetsAt: "2026-03-11T00:00:00.000Z",
    });
  });

  it("gives every value of a label a budget of its own", async () => {
    const scope = { label: "team" };
    const { policy } = bench([new BudgetRule({ maxUsd: 1, scope })]);
    await spend(policy, 1, { team: "red" });
    expect(
      (await refusal(policy.authorize(costing(0.1, { labels: { team: "red" } })))).decision.metadata,
    ).toMatchObject({ scope });
    await spend(policy, 1, { team: "blue" });
    await spend(policy, 3);
  });

  it("counts what a call really used, beyond its bound too", async () => {
    const { policy } = bench([new BudgetRule({ maxUsd: 1, per: "hour" })]);
    const auth = await policy.authorize(costing(0.5));
    expect(await auth.settle(used(1.25))).toMatchObject({ costUsd: 1.25, overshootUsd: 0.75 });
    expect((await refusal(policy.authorize(costing(0.1)))).decision.metadata).toMatchObject({ spentUsd: 1.25 });
  });

  it.each([
    [{}, "BudgetRule"],
    [{ maxUsd: 1, maxCalls: 1 }, "BudgetRule"],
    [{ maxUsd: -1 }, "BudgetRule.maxUsd"],
    [{ maxTokens: Number.NaN }, "BudgetRule.maxTokens"],
    [{ maxCalls: "many" }, "BudgetRule.maxCalls"],
    [{ maxUsd: 1, per: "year" }, "BudgetRule.per"],
    [{ maxUsd: 1, rolling: "yes" }, "BudgetRule.rolling"],
    [{ maxUsd: 1, scope: [] }, "BudgetRule.scope"],
  ])("refuses %j and names %s", (options, field) => {
    expect(() => new BudgetRule(options as BudgetOptions)).toThrow(
      expect.objectContaining({ code: "INVALID_INPUT", field }),
    );
  });
});
