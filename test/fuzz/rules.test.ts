import {
  AllowModelsRule,
  BudgetRule,
  ConcurrencyLimitRule,
  CostVelocityRule,
  ForecastBudgetRule,
  MaxCostPerRequestRule,
  MonthlyBudgetRule,
  PerUserBudgetRule,
  RestrictModelRule,
  TagBasedModelDowngradeRule,
  VelocityLimitRule,
  type Rule,
} from "@driftlock/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectUnharmed, fuzz, outcome, policyOf, sound } from "./fuzz.js";
import { answering, hostile, nonsense } from "./hostile.js";

type Make = new (options: never) => Rule;

/** Every rule with options that let everything pass, and all its options. */
const rules: readonly (readonly [Make, Readonly<Record<string, unknown>>, string])[] = [
  [MonthlyBudgetRule, { maxUsd: 100 }, "scope"],
  [MaxCostPerRequestRule, { maxUsd: 100 }, "maxUsd"],
  [PerUserBudgetRule, { userBudgets: { ada: 5 } }, "defaultMaxUsd"],
  [ForecastBudgetRule, { monthlyBudgetUsd: 100 }, "lookbackDays"],
  [VelocityLimitRule, { maxRequests: 100, windowSeconds: 60 }, "scope"],
  [CostVelocityRule, { maxCostUsd: 100, windowSeconds: 60 }, "scope"],
  [RestrictModelRule, { disallowedModels: ["other"] }, "condition"],
  [TagBasedModelDowngradeRule, { condition: () => false, downgradeTo: "flat" }, "condition"],
  [BudgetRule, { maxUsd: 100, per: "day" }, "maxTokens maxCalls rolling scope"],
  [ConcurrencyLimitRule, { maxConcurrent: 5 }, "scope"],
  [AllowModelsRule, { models: ["flat"] }, "condition"],
];
const common = ["name", "when", "mode"];
const labels = { user_id: "ada" };

describe("options of rules", () => {
  it.each(rules)("%o: are taken, or refused by name", async (type, options, more) => {
    await fuzz(150, hostile(options, ...more.split(" "), ...common), async (given) => {
      const made = await outcome(() => new type(given.make() as never));
      if ("error" in made) {
        expect(made.error).toMatchObject({ code: "INVALID_INPUT" });
        return;
      }
      const policy = policyOf([made.value, new MonthlyBudgetRule({ maxUsd: 1_000 })]);
      const called = await outcome(() => policy.authorize({ ...sound, labels }));
      if ("value" in called) await called.value.release();
      for (const { heldUsd } of await policy.usage({ labels })) expect(heldUsd).toBe(0);
    });
  });

  it("that are functions may answer, throw or reject with anything: the call passes, or the rule refuses it", async () => {
    const answers = fc.tuple(answering, nonsense).map(([answer, value]) => answer(value));
    const functions: readonly (readonly [Make, string])[] = [
      ...rules
        .filter(([, options]) => Object.values(options).some((value) => typeof value === "number"))
        .map(([type, options]) => [type, Object.keys(options)[0]!] as const),
      ...rules.map(([type]) => [type, "when"] as const),
      [RestrictModelRule, "condition"],
      [AllowModelsRule, "condition"],
      [TagBasedModelDowngradeRule, "condition"],
    ];
    await fuzz(600, fc.tuple(fc.constantFrom(...functions), answers), async ([[type, option], answer]) => {
      const [, options] = rules.find(([other]) => other === type)!;
      const policy = policyOf([
        new type({ ...options, [option]: answer } as never),
        new MonthlyBudgetRule({ maxUsd: 1_000, name: "Room" }),
      ]);
      const called = await outcome(() => policy.authorize({ ...sound, labels }));
      if ("value" in called) await called.value.release();
      else expect(called.error).toMatchObject({ ruleName: type.name });
      const rows = await outcome(() => policy.usage({ labels }));
      if ("value" in rows) for (const { heldUsd } of rows.value) expect(heldUsd).toBe(0);
    });
  });

  it("that refuse everything leave other calls alone", async () => {
    const policy = policyOf([
      new MonthlyBudgetRule({ maxUsd: 100 }),
      new RestrictModelRule({ disallowedModels: ["flat"], condition: ({ labels: { plan } }) => plan === "free" }),
    ]);
    const refused = await outcome(() => policy.authorize({ ...sound, labels: { plan: "free" } }));
    expect(refused).toMatchObject({ error: { ruleName: "RestrictModelRule" } });
    await expectUnharmed(policy);
  });
});
