import { describe, expect, it } from "vitest";
import { withAmbient } from "../../src/ambient/ambient.js";
import { RuleDecision } from "../../src/policy/decision.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { ConcurrencyLimitRule } from "../../src/policy/rules/concurrency-limit.js";
import { ForecastBudgetRule } from "../../src/policy/rules/forecast-budget.js";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { PerUserBudgetRule } from "../../src/policy/rules/per-user-budget.js";
import { RestrictModelRule } from "../../src/policy/rules/restrict-model.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { VelocityLimitRule } from "../../src/policy/rules/velocity-limit.js";
import { bench, costing, failure, heard, refusal, settled, spend } from "./kit.js";

const labels = { user_id: "ada" };

describe("usage", () => {
  it("has a row for each limit that counts something, in the rules' order", async () => {
    const { policy } = bench([
      new MonthlyBudgetRule({ maxUsd: 5 }),
      new MaxCostPerRequestRule({ maxUsd: 1 }),
      new PerUserBudgetRule({ userBudgets: { ada: 2 } }),
      new ForecastBudgetRule({ monthlyBudgetUsd: 30 }),
      new VelocityLimitRule({ maxRequests: 10, windowSeconds: 60 }),
      new RestrictModelRule({ disallowedModels: ["x"] }),
      new ConcurrencyLimitRule({ maxConcurrent: 3 }),
      new BudgetRule({ name: "tokens", maxTokens: 10_000, per: "lifetime" }),
    ]);
    await spend(policy, 0.5, labels);
    await policy.authorize(costing(0.25, { labels }));
    const resetsAt = "2026-04-01T00:00:00.000Z";
    const calendar = { kind: "calendar", unit: "month" };
    expect(await policy.usage({ labels })).toEqual([
      {
        rule: "MonthlyBudgetRule",
        scope: "workspace",
        measure: "usd",
        window: calendar,
        spentUsd: 0.5,
        heldUsd: 0.25,
        maxUsd: 5,
        resetsAt,
      },
      {
        rule: "PerUserBudgetRule",
        scope: "user",
        measure: "usd",
        window: calendar,
        spentUsd: 0.5,
        heldUsd: 0.25,
        maxUsd: 2,
        resetsAt,
      },
      {
        rule: "ForecastBudgetRule",
        scope: "workspace",
        measure: "usd",
        window: { kind: "days", days: 7 },
        spentUsd: 0.5,
        heldUsd: 0.25,
        maxUsd: 7,
        resetsAt: "2026-03-17T00:00:00.000Z",
      },
      {
        rule: "VelocityLimitRule",
        scope: "workspace",
        measure: "calls",
        window: { kind: "sliding", ms: 60_000 },
        spentUsd: 2,
        heldUsd: 0,
        maxUsd: 10,
        resetsAt: "2026-03-10T12:01:02.000Z",
      },
      {
        rule: "ConcurrencyLimitRule",
        scope: "workspace",
        measure: "in-flight",
        window: { kind: "lifetime" },
        spentUsd: 0,
        heldUsd: 1,
        maxUsd: 3,
      },
      {
        rule: "tokens",
        scope: "workspace",
        measure: "tokens",
        window: { kind: "lifetime" },
        spentUsd: 500,
        heldUsd: 250,
        maxUsd: 10_000,
      },
    ]);
  });

  it("knows the user by the ambient and the default labels, and has no row where the user is not known", async () => {
    const { policy } = bench([new PerUserBudgetRule({ userBudgets: { ada: 2, bob: 3 } })], {
      defaultLabels: { user_id: "bob" },
    });
    expect((await policy.usage())[0]).toMatchObject({ maxUsd: 3 });
    expect((await withAmbient({ labels }, () => policy.usage()))[0]).toMatchObject({ maxUsd: 2 });
    expect(await bench([new PerUserBudgetRule({ userBudgets: { ada: 2 } })]).policy.usage()).toEqual([]);
  });

  it("shows the limits of ambient rules, of rules in shadow, and the month of before a rule was added", async () => {
    const { policy, clock } = bench([]);
    await spend(policy, 0.5);
    const later = bench([new MonthlyBudgetRule({ maxUsd: 0.1, mode: "shadow" })], {
      store: policy.ledger,
      clock,
    }).policy;
    expect(await later.usage()).toMatchObject([{ spentUsd: 0.5, maxUsd: 0.1 }]);
    const rules = [new BudgetRule({ name: "ambient", maxUsd: 1, per: "day" })];
    expect(await withAmbient({ rules }, () => policy.usage())).toMatchObject([{ rule: "ambient", spentUsd: 0.5 }]);
  });

  it("holds nothing and lets nothing through", async () => {
    const { policy } = bench([new VelocityLimitRule({ maxRequests: 1, windowSeconds: 60 })]);
    for (let i = 0; i < 3; i++) await policy.usage();
    await spend(policy, 0.1);
  });

  it("refuses labels that are none", async () => {
    expect(await failure(bench([]).policy.usage({ labels: { user_id: 7 as never } }))).toMatchObject({
      code: "INVALID_INPUT",
      field: "labels.user_id",
    });
  });
});

describe("evaluate", () => {
  it("is every rule's own verdict, each on the model that the rules before it leave", async () => {
    const { policy } = bench([
      new MonthlyBudgetRule({ maxUsd: 0.2 }),
      new RestrictModelRule({ disallowedModels: ["flat"] }),
      new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "small" }),
      new MaxCostPerRequestRule({ maxUsd: 0.05 }),
      new RestrictModelRule({ name: "no small", disallowedModels: ["small"], mode: "shadow" }),
    ]);
    await spend(policy, 0.2).catch(() => undefined);
    await policy.record({ id: "a", costUsd: 0.2 });
    expect(await policy.evaluate(costing(0.1))).toEqual([
      {
        rule: "MonthlyBudgetRule",
        allow: false,
        action: "block",
        shadow: false,
        metadata: { spentUsd: 0.2, heldUsd: 0, maxUsd: 0.2, scope: "workspace", resetsAt: "2026-04-01T00:00:00.000Z" },
      },
      { rule: "RestrictModelRule", allow: false, action: "block", shadow: false, metadata: { model: "flat" } },
      {
        rule: "TagBasedModelDowngradeRule",
        allow: true,
        action: "downgrade",
        shadow: false,
        metadata: { downgradeTo: "small" },
      },
      { rule: "MaxCostPerRequestRule", allow: true, action: null, shadow: false, metadata: {} },
      { rule: "no small", allow: false, action: "block", shadow: true, metadata: { model: "small" } },
    ]);
  });

  it("holds nothing, waits for nothing, counts nothing and tells nobody", async () => {
    const { policy, clock } = bench([
      new MonthlyBudgetRule({ maxUsd: 1 }),
      new VelocityLimitRule({ maxRequests: 1, windowSeconds: 60 }),
    ]);
    const events = heard(policy, "call-reserved", "call-denied", "call-waiting", "call-shadowed", "call-amended");
    for (let i = 0; i < 3; i++) expect((await policy.evaluate(costing(0.9))).every(({ allow }) => allow)).toBe(true);
    const auth = await policy.authorize(costing(1));
    const timers = clock.pending;
    expect((await policy.evaluate(costing(0.5))).map(({ allow }) => allow)).toEqual([false, false]);
    await settled();
    expect(clock.pending).toBe(timers);
    expect(events.map(({ name }) => name)).toEqual(["call-reserved"]);
    await auth.release();
  });

  it("says allow where a smaller answer would fit, as authorize would give it", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 0.3 })]);
    expect(await policy.evaluate({ model: "flat", inputTokens: 0 })).toMatchObject([{ allow: true }]);
    expect((await policy.authorize({ model: "flat", inputTokens: 0 })).request.maxOutputTokens).toBe(300);
  });

  it("names a rule that throws, and refuses a request that is none", async () => {
    const broken = { name: "broken", evaluate: () => expect.fail("broken") };
    expect(await bench([broken]).policy.evaluate(costing(0.1))).toMatchObject([
      { rule: "broken", allow: false, metadata: { reason: expect.stringContaining("broken") } },
    ]);
    expect(await failure(bench([]).policy.evaluate({} as never))).toMatchObject({
      code: "INVALID_INPUT",
      field: "model",
    });
  });
});

describe("track", () => {
  it("keeps the days of labels that no rule limits yet, so that a later rule sees the month", async () => {
    const { policy, clock } = bench([], { track: ["team"] });
    await spend(policy, 0.5, { team: "red", other: "x" });
    const rules = [
      new MonthlyBudgetRule({ maxUsd: 0.5, scope: { label: "team" } }),
      new MonthlyBudgetRule({ maxUsd: 0.5, scope: { label: "other" } }),
    ];
    const later = bench(rules, { store: policy.ledger, clock }).policy;
    expect((await later.usage({ labels: { team: "red", other: "x" } })).map(({ spentUsd }) => spentUsd)).toEqual([
      0.5, 0,
    ]);
    await refusal(later.authorize(costing(0.1, { labels: { team: "red" } })));
  });
});

describe("a rule's evaluate", () => {
  it("may be asked by usage without a request of its own", async () => {
    const rule = {
      name: "odd",
      evaluate: ({ messages, params }: { messages: readonly unknown[]; params: object }) =>
        messages.length + Object.keys(params).length > 9 ? RuleDecision.block() : RuleDecision.allow(),
    };
    expect(await bench([rule]).policy.usage()).toEqual([]);
  });
});
