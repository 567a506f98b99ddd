import {
  BaseRule,
  BudgetRule,
  MaxCostPerRequestRule,
  MonthlyBudgetRule,
  PerUserBudgetRule,
  RestrictModelRule,
  RuleDecision,
  TagBasedModelDowngradeRule,
  VelocityLimitRule,
  type AllowModelsOptions,
  type BudgetOptions,
  type Claim,
  type ConcurrencyLimitOptions,
  type Context,
  type CostVelocityOptions,
  type ForecastBudgetOptions,
  type Limit,
  type MaxCostPerRequestOptions,
  type Mode,
  type MonthlyBudgetOptions,
  type PerUserBudgetOptions,
  type RestrictModelOptions,
  type Rule,
  type RuleOptions,
  type Scope,
  type Shortfall,
  type TagBasedModelDowngradeOptions,
  type VelocityLimitOptions,
} from "@driftlock/core";
import { describe, expectTypeOf, it } from "vitest";

type Required_<T> = { [Name in keyof T]-?: undefined extends T[Name] ? never : Name }[keyof T];

describe("the rules' options", () => {
  it("need exactly what cannot be guessed", () => {
    expectTypeOf<Required_<MonthlyBudgetOptions>>().toEqualTypeOf<"maxUsd">();
    expectTypeOf<Required_<MaxCostPerRequestOptions>>().toEqualTypeOf<"maxUsd">();
    expectTypeOf<Required_<PerUserBudgetOptions>>().toEqualTypeOf<"userBudgets">();
    expectTypeOf<Required_<ForecastBudgetOptions>>().toEqualTypeOf<"monthlyBudgetUsd">();
    expectTypeOf<Required_<VelocityLimitOptions>>().toEqualTypeOf<"maxRequests" | "windowSeconds">();
    expectTypeOf<Required_<CostVelocityOptions>>().toEqualTypeOf<"maxCostUsd" | "windowSeconds">();
    expectTypeOf<Required_<RestrictModelOptions>>().toEqualTypeOf<"disallowedModels">();
    expectTypeOf<Required_<TagBasedModelDowngradeOptions>>().toEqualTypeOf<"condition" | "downgradeTo">();
    expectTypeOf<Required_<ConcurrencyLimitOptions>>().toEqualTypeOf<"maxConcurrent">();
    expectTypeOf<Required_<AllowModelsOptions>>().toEqualTypeOf<"models">();
    expectTypeOf<Required_<BudgetOptions>>().toEqualTypeOf<never>();
  });

  it("all take a name, `when` and a mode", () => {
    type All =
      | MonthlyBudgetOptions
      | MaxCostPerRequestOptions
      | PerUserBudgetOptions
      | ForecastBudgetOptions
      | VelocityLimitOptions
      | CostVelocityOptions
      | RestrictModelOptions
      | TagBasedModelDowngradeOptions
      | ConcurrencyLimitOptions
      | AllowModelsOptions
      | BudgetOptions;
    expectTypeOf<All>().toExtend<RuleOptions>();
    expectTypeOf<Mode>().toEqualTypeOf<"enforce" | "shadow">();
    expectTypeOf<Parameters<NonNullable<RuleOptions["when"]>>>().toEqualTypeOf<[context: Context]>();
  });

  it("take limits as numbers or as functions of the call, null for none", () => {
    expectTypeOf<5>().toExtend<Limit>();
    expectTypeOf<() => null>().toExtend<Limit>();
    expectTypeOf<(context: Context) => Promise<number | null>>().toExtend<Limit>();
    expectTypeOf<"5">().not.toExtend<Limit>();
    expectTypeOf<() => string>().not.toExtend<Limit>();
    expectTypeOf<MonthlyBudgetOptions["maxUsd"]>().toEqualTypeOf<Limit>();
  });

  it("take a scope, and the seed's sets and maps", () => {
    expectTypeOf<Scope>().toEqualTypeOf<"workspace" | "user" | { readonly label: string; readonly value?: string }>();
    expectTypeOf<MonthlyBudgetOptions["scope"]>().toEqualTypeOf<Scope | undefined>();
    expectTypeOf<Set<string>>().toExtend<RestrictModelOptions["disallowedModels"]>();
    expectTypeOf<readonly string[]>().toExtend<RestrictModelOptions["disallowedModels"]>();
    expectTypeOf<Map<string, number>>().toExtend<PerUserBudgetOptions["userBudgets"]>();
    expectTypeOf<{ ada: number; bob: () => null }>().toExtend<PerUserBudgetOptions["userBudgets"]>();
  });

  it("are checked where a rule is made", () => {
    expectTypeOf(MonthlyBudgetRule).toBeConstructibleWith({ maxUsd: 1, name: undefined, mode: "shadow" });
    expectTypeOf(BudgetRule).toBeConstructibleWith({
      maxTokens: 1,
      per: "day",
      rolling: true,
      scope: { label: "team" },
    });
    expectTypeOf(VelocityLimitRule).toBeConstructibleWith({ maxRequests: () => 5, windowSeconds: 60, scope: "user" });
    expectTypeOf(PerUserBudgetRule).toBeConstructibleWith({ userBudgets: { ada: 1 }, defaultMaxUsd: async () => null });
    expectTypeOf(TagBasedModelDowngradeRule).toBeConstructibleWith({
      condition: ({ labels }) => labels["plan"] === "free",
      downgradeTo: "gpt-4o-mini",
    });
    // @ts-expect-error: a number is no options object
    void (() => new MonthlyBudgetRule(100));
    // @ts-expect-error: a list of names is wanted, not one name
    void (() => new RestrictModelRule({ disallowedModels: 7 }));
    // @ts-expect-error: misspelt
    void (() => new MaxCostPerRequestRule({ maxUSD: 1 }));
    // @ts-expect-error: no such unit
    void (() => new BudgetRule({ maxUsd: 1, per: "year" }));
  });
});

describe("a rule of one's own", () => {
  it("extends BaseRule or has its shape; its answer may come later", () => {
    class Mine extends BaseRule {
      evaluate({ now }: Context): RuleDecision {
        return now > 0 ? RuleDecision.block({ reason: "x" }) : RuleDecision.allow();
      }
    }
    expectTypeOf(new Mine()).toExtend<Rule>();
    expectTypeOf({ name: "plain", evaluate: async () => RuleDecision.allow() }).toExtend<Rule>();
    expectTypeOf({ evaluate: () => RuleDecision.allow() }).not.toExtend<Rule>();
    expectTypeOf({ name: "x", evaluate: () => true }).not.toExtend<Rule>();
  });

  it("sees a context it cannot change", () => {
    const change = (context: Context) => {
      // @ts-expect-error: read-only
      context.model = "x";
      // @ts-expect-error: read-only
      context.labels["user_id"] = "x";
      // @ts-expect-error: read-only
      context.estimate.costUsd = 0;
    };
    expectTypeOf(change).toBeFunction();
    expectTypeOf<Context["labels"][string]>().toEqualTypeOf<string>();
    expectTypeOf<Context["mission"]>().toEqualTypeOf<{ readonly id: string } | undefined>();
  });

  it("claims with the four measures and windows", () => {
    expectTypeOf<Claim["measure"]>().toEqualTypeOf<"usd" | "tokens" | "calls" | "in-flight">();
    expectTypeOf<Claim["limit"]>().toEqualTypeOf<number | "stored">();
    expectTypeOf<{ kind: "sliding"; ms: number }>().toExtend<Claim["window"]>();
    expectTypeOf<"request">().toExtend<Claim["window"]>();
    expectTypeOf<{ kind: "calendar"; unit: "year" }>().not.toExtend<Claim["window"]>();
    expectTypeOf<Parameters<NonNullable<Rule["onShortfall"]>>>().toEqualTypeOf<
      [context: Context, shortfall: Shortfall]
    >();
    expectTypeOf(RuleDecision.allow().claim({} as Claim)).toEqualTypeOf<RuleDecision>();
    expectTypeOf(RuleDecision.downgrade("m")).toEqualTypeOf<RuleDecision>();
  });
});
