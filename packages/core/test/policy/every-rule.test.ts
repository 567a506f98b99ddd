import { describe, expect, it } from "vitest";
import type { Rule, RuleOptions } from "../../src/policy/rule.js";
import { AllowModelsRule } from "../../src/policy/rules/allow-models.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { ConcurrencyLimitRule } from "../../src/policy/rules/concurrency-limit.js";
import { CostVelocityRule } from "../../src/policy/rules/cost-velocity.js";
import { ForecastBudgetRule } from "../../src/policy/rules/forecast-budget.js";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { PerUserBudgetRule } from "../../src/policy/rules/per-user-budget.js";
import { RestrictModelRule } from "../../src/policy/rules/restrict-model.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { VelocityLimitRule } from "../../src/policy/rules/velocity-limit.js";
import { bench, costing, heard, refusal } from "../engine/kit.js";

interface Case {
  readonly name: string;
  /** A rule that refuses every call of $0.10 by ada, or with `downgrades` swaps its model. */
  readonly make: (options: RuleOptions) => Rule;
  readonly downgrades?: boolean;
}

const rules: readonly Case[] = [
  { name: "MonthlyBudgetRule", make: (more) => new MonthlyBudgetRule({ maxUsd: 0, ...more }) },
  { name: "MaxCostPerRequestRule", make: (more) => new MaxCostPerRequestRule({ maxUsd: 0, ...more }) },
  { name: "PerUserBudgetRule", make: (more) => new PerUserBudgetRule({ userBudgets: { ada: 0 }, ...more }) },
  { name: "ForecastBudgetRule", make: (more) => new ForecastBudgetRule({ monthlyBudgetUsd: 0, ...more }) },
  { name: "VelocityLimitRule", make: (more) => new VelocityLimitRule({ maxRequests: 0, windowSeconds: 60, ...more }) },
  { name: "CostVelocityRule", make: (more) => new CostVelocityRule({ maxCostUsd: 0, windowSeconds: 60, ...more }) },
  { name: "RestrictModelRule", make: (more) => new RestrictModelRule({ disallowedModels: ["flat"], ...more }) },
  {
    name: "TagBasedModelDowngradeRule",
    make: (more) => new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "small", ...more }),
    downgrades: true,
  },
  { name: "BudgetRule", make: (more) => new BudgetRule({ maxUsd: 0, ...more }) },
  { name: "ConcurrencyLimitRule", make: (more) => new ConcurrencyLimitRule({ maxConcurrent: 0, ...more }) },
  { name: "AllowModelsRule", make: (more) => new AllowModelsRule({ models: ["small"], ...more }) },
];
const call = costing(0.1, { labels: { user_id: "ada" } });

describe.each(rules)("$name", ({ name, make, downgrades }) => {
  it("carries its class's name, or the one it is given", () => {
    expect(make({}).name).toBe(name);
    expect(make({ name: undefined }).name).toBe(name);
    expect(make({ name: "mine" }).name).toBe("mine");
  });

  it("refuses under its name", async () => {
    expect(
      (await refusal(bench([make({ name: "mine" })]).policy.authorize({ ...call, amendable: false }))).ruleName,
    ).toBe("mine");
  });

  it("applies only where `when` holds, which may be asynchronous", async () => {
    const applied = async (when: NonNullable<RuleOptions["when"]>) => {
      const auth = await bench([make({ when })])
        .policy.authorize(call)
        .catch(() => undefined);
      return auth?.request.model !== "flat";
    };
    expect(await applied(() => true)).toBe(true);
    expect(await applied(({ labels }) => labels["user_id"] === "bob")).toBe(false);
    expect(await applied(async ({ model }) => model === "flat")).toBe(true);
    expect(await applied(async () => false)).toBe(false);
  });

  it("blocks when `when` throws or rejects: a rule that cannot be judged is not passed over", async () => {
    for (const when of [() => expect.fail("broken"), () => Promise.reject(new Error("broken"))]) {
      const violation = await refusal(bench([make({ when })]).policy.authorize(call));
      expect(violation.ruleName).toBe(name);
      expect(violation.cause).toMatchObject({ message: "broken" });
    }
  });

  it("in shadow lets the call pass unchanged and tells what it would have refused", async () => {
    const { policy } = bench([make({ mode: "shadow" })]);
    const told = heard(policy, "call-shadowed", "call-amended", "call-waiting", "call-denied");
    const auth = await policy.authorize(call);
    expect(auth.request).toMatchObject({ model: "flat", maxOutputTokens: 100 });
    expect(told.map(({ name: event }) => event)).toEqual(downgrades ? [] : ["call-shadowed"]);
    if (!downgrades) expect(told[0]!.event).toMatchObject({ id: auth.id, model: "flat", ruleName: name });
  });

  it("enforces when mode is given as undefined or enforce", async () => {
    for (const mode of [undefined, "enforce"] as const) {
      const auth = await bench([make({ mode })])
        .policy.authorize(call)
        .catch(() => undefined);
      expect(auth?.request.model).not.toBe("flat");
    }
  });

  it.each([
    ["name", ""],
    ["name", 7],
    ["name", "x".repeat(129)],
    ["mode", "off"],
    ["mode", "Shadow"],
    ["when", true],
  ])("refuses %s %j at construction", (field, value) => {
    expect(() => make({ [field]: value })).toThrow(
      expect.objectContaining({ code: "INVALID_INPUT", field: `${name}.${field}`, value }),
    );
  });

  it("refuses anything but an object of options", () => {
    const Type = make({}).constructor as new (options: unknown) => unknown;
    for (const options of [undefined, null, 100, "100", [100]]) {
      expect(() => new Type(options)).toThrow(expect.objectContaining({ code: "INVALID_INPUT", field: name }));
    }
  });
});

it("every rule of the package is in this table", async () => {
  const exported = Object.entries(await import("../../src/index.js")).filter(
    ([name]) => name.endsWith("Rule") && name !== "BaseRule",
  );
  expect(rules.map(({ name }) => name).sort()).toEqual(exported.map(([name]) => name).sort());
});
