import { describe, expect, it } from "vitest";
import { RuleDecision } from "../../src/policy/decision.js";
import { ConcurrencyLimitRule } from "../../src/policy/rules/concurrency-limit.js";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { RestrictModelRule } from "../../src/policy/rules/restrict-model.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { VelocityLimitRule } from "../../src/policy/rules/velocity-limit.js";
import { bench, costing, failure, heard, month, pass, refusal, spend, used } from "./kit.js";

describe("a rule in shadow", () => {
  const shadow = () => new MonthlyBudgetRule({ maxUsd: 1, mode: "shadow" });

  it("records like any other, with the limit ignored", async () => {
    const { policy } = bench([shadow()]);
    await spend(policy, 0.8);
    const auth = await policy.authorize(costing(0.9));
    expect(await month(policy)).toEqual({ spentUsd: 0.8, heldUsd: 0.9 });
    await auth.settle(used(0.9));
    expect(await month(policy)).toMatchObject({ spentUsd: 1.7, heldUsd: 0 });
  });

  it("tells what it would have refused, with the metadata of the block", async () => {
    const { policy } = bench([shadow()]);
    const events = heard(policy, "call-shadowed");
    await spend(policy, 1);
    expect(events).toEqual([]);
    const { id } = await policy.authorize(costing(0.5, { labels: { user_id: "ada" } }));
    expect(events.map(({ event }) => ({ ...event, labels: { ...event.labels } }))).toEqual([
      {
        id,
        model: "flat",
        labels: { user_id: "ada" },
        ruleName: "MonthlyBudgetRule",
        metadata: { spentUsd: 1, heldUsd: 0, maxUsd: 1, scope: "workspace", resetsAt: "2026-04-01T00:00:00.000Z" },
      },
    ]);
  });

  it("lowers nothing: a call gets what the enforcing rules leave", async () => {
    const { policy } = bench([shadow(), new MonthlyBudgetRule({ name: "real", maxUsd: 2 })]);
    expect((await policy.authorize({ model: "flat", inputTokens: 0 })).request.maxOutputTokens).toBe(2_000);
  });

  it("makes nobody wait", async () => {
    const { policy, clock } = bench([new ConcurrencyLimitRule({ maxConcurrent: 1, mode: "shadow" })]);
    const events = heard(policy, "call-waiting", "call-shadowed");
    await policy.authorize(costing(0.1));
    const timers = clock.pending;
    await policy.authorize(costing(0.1));
    expect(clock.pending).toBe(timers);
    expect(events.map(({ name }) => name)).toEqual(["call-shadowed"]);
  });

  it("that throws or blocks by itself lets the call pass, and is told", async () => {
    const rules = [
      { name: "broken", mode: "shadow" as const, evaluate: () => expect.fail("broken") },
      { name: "no", mode: "shadow" as const, evaluate: async () => RuleDecision.block({ reason: "no" }) },
      new RestrictModelRule({ disallowedModels: ["flat"], mode: "shadow" }),
    ];
    const { policy } = bench(rules);
    const events = heard(policy, "call-shadowed");
    await policy.authorize(costing(0.1));
    expect(events.map(({ event }) => event.ruleName)).toEqual(["broken", "no", "RestrictModelRule"]);
  });

  it("is not asked to answer a shortfall of its own", async () => {
    const rule = {
      name: "mission",
      mode: "shadow" as const,
      evaluate: shadow().evaluate,
      onShortfall: () => RuleDecision.downgrade("small"),
    };
    const { policy } = bench([rule]);
    await spend(policy, 1);
    expect((await policy.authorize(costing(0.5))).request.model).toBe("flat");
  });

  it("is told once for a call, though the rules are asked again after a downgrade", async () => {
    const { policy } = bench([
      shadow(),
      new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "small" }),
    ]);
    await policy.record({ id: "a", costUsd: 1 });
    const events = heard(policy, "call-shadowed");
    await policy.authorize(costing(0.5));
    expect(events).toHaveLength(1);
  });

  it("is told once for a call that waits and tries again and again", async () => {
    const { policy, clock } = bench([
      shadow(),
      new RestrictModelRule({ disallowedModels: ["flat"], mode: "shadow" }),
      new ConcurrencyLimitRule({ maxConcurrent: 1 }),
    ]);
    const open = await policy.authorize(costing(1));
    const events = heard(policy, "call-shadowed");
    const waiting = policy.authorize(costing(0.5));
    await pass(clock, 2_000);
    await open.settle();
    await waiting;
    expect(events.map(({ event }) => event.ruleName)).toEqual(["RestrictModelRule", "MonthlyBudgetRule"]);
  });
});

describe("a policy in shadow", () => {
  const all = () => [
    new RestrictModelRule({ disallowedModels: ["flat"] }),
    new MaxCostPerRequestRule({ maxUsd: 0.01 }),
    new MonthlyBudgetRule({ maxUsd: 0.1 }),
    new VelocityLimitRule({ maxRequests: 1, windowSeconds: 60 }),
    new ConcurrencyLimitRule({ maxConcurrent: 1 }),
    new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "small" }),
  ];

  it("refuses, swaps, lowers and holds up nothing, and records everything", async () => {
    const { policy, clock } = bench(all(), { mode: "shadow" });
    const events = heard(policy, "call-denied", "call-waiting", "call-amended");
    const calls = await Promise.all(Array.from({ length: 5 }, () => policy.authorize(costing(0.5))));
    expect(calls.map(({ request: { model, maxOutputTokens } }) => ({ model, maxOutputTokens }))).toEqual(
      calls.map(() => ({ model: "flat", maxOutputTokens: 500 })),
    );
    for (const call of calls) await call.settle(used(0.5));
    expect(await month(policy)).toEqual({ spentUsd: 2.5, heldUsd: 0 });
    expect(events).toEqual([]);
    clock.advance(60_000);
  });

  it("tells what each rule would have refused", async () => {
    const { policy } = bench(all(), { mode: "shadow" });
    const events = heard(policy, "call-shadowed");
    await policy.authorize(costing(0.5));
    expect(events.map(({ event }) => event.ruleName)).toEqual([
      "RestrictModelRule",
      "MaxCostPerRequestRule",
      "MonthlyBudgetRule",
    ]);
  });

  it("lets unknown models pass, and calls that are frozen, which is told", async () => {
    const { policy } = bench(all(), { mode: "shadow" });
    await policy.authorize({ model: "nobody's", inputTokens: 1 });
    await policy.freeze({ by: "grace", reason: "test" });
    const events = heard(policy, "call-shadowed");
    await policy.authorize(costing(0.001));
    expect(events.map(({ event }) => event.ruleName)).toContain("Freeze");
  });

  it("refuses no new account either", async () => {
    const { policy } = bench(all(), { mode: "shadow", maxAccounts: 1 });
    for (const user_id of ["ada", "bob"]) await policy.authorize(costing(0.1, { labels: { user_id } }));
  });

  it("makes a rule's own enforce no stronger", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 0, mode: "enforce" })], { mode: "shadow" });
    await policy.authorize(costing(0.1));
  });

  it("still refuses what is no request", async () => {
    const { policy } = bench([], { mode: "shadow" });
    expect(await failure(policy.authorize({} as never))).toMatchObject({ code: "INVALID_INPUT" });
    await policy.authorize(costing(0.1, { id: "a" }));
    expect(await failure(policy.authorize(costing(0.1, { id: "a" })))).toMatchObject({ code: "DUPLICATE_CALL" });
  });

  it("beside an enforcing one on the same ledger sees and is seen", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })], { mode: "shadow" });
    const enforcing = bench([new MonthlyBudgetRule({ maxUsd: 1 })], { store: policy.ledger, clock }).policy;
    await spend(policy, 5);
    await refusal(enforcing.authorize(costing(0.1)));
  });
});
