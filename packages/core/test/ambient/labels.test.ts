import { describe, expect, it } from "vitest";
import { currentAmbient, withAmbient, withLabels } from "../../src/ambient/ambient.js";
import type { Labels } from "../../src/domain/labels.js";
import { RuleDecision } from "../../src/policy/decision.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { PerUserBudgetRule } from "../../src/policy/rules/per-user-budget.js";
import { bench, costing, failure, refusal, settled, spend } from "../engine/kit.js";

/** A policy that notes the labels its rules see. */
function noting(defaultLabels?: Labels) {
  const seen: Labels[] = [];
  const rule = {
    name: "note",
    evaluate: ({ labels }: { labels: Labels }) => (seen.push(labels), RuleDecision.allow()),
  };
  return { policy: bench([rule], defaultLabels === undefined ? {} : { defaultLabels }).policy, seen };
}

describe("labels", () => {
  it("of the call win over ambient ones, those over the engine's defaults", async () => {
    const { policy, seen } = noting({ a: "default", b: "default", c: "default" });
    await withLabels({ b: "ambient", c: "ambient" }, () => policy.authorize(costing(0, { labels: { c: "call" } })));
    expect({ ...seen[0] }).toEqual({ a: "default", b: "ambient", c: "call" });
  });

  it("of blocks nest, merge and end with their block, also when it throws", async () => {
    const { policy, seen } = noting();
    await withLabels({ a: "1", b: "1" }, async () => {
      await withLabels({ b: "2" }, () => policy.authorize(costing(0)));
      await policy.authorize(costing(0));
    });
    await failure(withLabels({ c: "3" }, () => Promise.reject(new Error("x"))));
    await policy.authorize(costing(0));
    expect(seen.map((labels) => ({ ...labels }))).toEqual([{ a: "1", b: "2" }, { a: "1", b: "1" }, {}]);
    expect(currentAmbient()).toBeUndefined();
  });

  it("follow what a block starts asynchronously, and parallel blocks do not mix", async () => {
    const { policy, seen } = noting();
    const tasks = ["ada", "bob", "eve"].map((user_id) =>
      withLabels({ user_id }, async () => {
        await settled();
        await policy.authorize(costing(0));
        await Promise.all([policy.authorize(costing(0)), policy.authorize(costing(0))]);
      }),
    );
    await Promise.all(tasks);
    expect(seen.map((labels) => labels["user_id"]).sort()).toEqual([
      "ada",
      "ada",
      "ada",
      "bob",
      "bob",
      "bob",
      "eve",
      "eve",
      "eve",
    ]);
  });

  it("are maps without a prototype: nobody's label is found by inheritance", async () => {
    const { policy, seen } = noting({ x: "1" });
    await policy.authorize(costing(0, { labels: { user_id: "ada" } }));
    await policy.authorize(costing(0));
    for (const labels of seen) {
      expect(Object.getPrototypeOf(labels)).toBeNull();
      expect(labels["constructor"]).toBeUndefined();
    }
  });

  it("are copied: changing them afterwards changes no call", async () => {
    const labels = { user_id: "ada" };
    const { policy, seen } = noting();
    await policy.authorize(costing(0, { labels }));
    labels.user_id = "bob";
    expect(seen[0]!["user_id"]).toBe("ada");
  });

  it("that are none are refused where they are laid down", () => {
    const bad = [
      null,
      [],
      "ada",
      { user_id: 7 },
      { user_id: undefined },
      { ["x".repeat(257)]: "1" },
      { a: "x".repeat(257) },
      { "": "1" },
      JSON.parse('{"__proto__":"x"}'),
    ];
    for (const labels of bad)
      expect(() => withLabels(labels as Labels, () => 1)).toThrow(expect.objectContaining({ code: "INVALID_INPUT" }));
    for (const labels of bad.slice(1))
      expect(() => bench([], { defaultLabels: labels as Labels })).toThrow(
        expect.objectContaining({ code: "INVALID_INPUT" }),
      );
  });

  it("of 256 characters and 32 names are fine", async () => {
    const labels = Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`${i}`.padEnd(256, "k"), "v".repeat(256)]));
    await noting().policy.authorize(costing(0, { labels }));
  });

  it("reach no other's account, whatever they are made of", async () => {
    const names = [
      "ada",
      "ada:",
      ":ada",
      "a:da",
      "ad%61",
      "%3a",
      "ada ",
      "ADA",
      "workspace",
      "control",
      "label:user_id:ada",
      "user_id",
      "\ud800",
      "\udfff",
      "ä",
      "a\u0308",
      "\0",
      "",
    ];
    const { policy } = bench([new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 0.1 })]);
    for (const user_id of names) await spend(policy, 0.1, { user_id });
    for (const user_id of names) await refusal(policy.authorize(costing(0.1, { labels: { user_id } })));
  });
});

describe("withAmbient", () => {
  it("lays rules over every call, after the engine's own", async () => {
    const { policy } = bench([]);
    await withAmbient({ rules: [new MonthlyBudgetRule({ maxUsd: 0.1 })] }, async () => {
      await spend(policy, 0.1);
      expect((await refusal(policy.authorize(costing(0.1)))).ruleName).toBe("MonthlyBudgetRule");
    });
    await spend(policy, 0.1);
  });

  it("gives back what the block gives back, at once or later", async () => {
    expect(withAmbient({}, () => 7)).toBe(7);
    expect(await withLabels({ a: "1" }, async () => 7)).toBe(7);
  });

  it("names the innermost mission to the rules", async () => {
    const seen: unknown[] = [];
    const { policy } = bench([{ name: "note", evaluate: ({ mission }) => (seen.push(mission), RuleDecision.allow()) }]);
    await withAmbient({ mission: { id: "outer" } }, async () => {
      await withAmbient({ mission: { id: "inner" } }, () => policy.authorize(costing(0)));
      await withLabels({ a: "1" }, () => policy.authorize(costing(0)));
    });
    await policy.authorize(costing(0));
    expect(seen).toEqual([{ id: "inner" }, { id: "outer" }, undefined]);
  });

  it("refuses what is no ambient block", () => {
    const bad = [null, 7, { rules: {} }, { mission: "m1" }, { mission: {} }, { insideCall: "yes" }];
    for (const ambient of bad) {
      expect(() => withAmbient(ambient as never, () => 1)).toThrow(expect.objectContaining({ code: "INVALID_INPUT" }));
    }
  });

  it("refuses rules that are none", () => {
    expect(() => withAmbient({ rules: [{ name: "x" } as never] }, () => 1)).toThrow(
      expect.objectContaining({ code: "INVALID_INPUT", field: "ambient.rules[0].evaluate" }),
    );
  });

  it("can be given outright where no async context reaches, in place of the surrounding one", async () => {
    const { policy, seen } = noting({ a: "default" });
    const ambient = { labels: { b: "given" }, rules: [new MonthlyBudgetRule({ maxUsd: 0 })] };
    await refusal(policy.authorize(costing(0.1), { ambient }));
    await withLabels({ c: "around" }, () =>
      policy.authorize(costing(0), { ambient: { labels: { b: "given" }, rules: [] } }),
    );
    expect({ ...seen[1] }).toEqual({ a: "default", b: "given" });
    expect(
      await failure(policy.authorize(costing(0), { ambient: { labels: {}, rules: [{} as never] } })),
    ).toMatchObject({ code: "INVALID_INPUT" });
    expect(
      await failure(policy.authorize(costing(0), { ambient: { labels: { a: 7 as never }, rules: [] } })),
    ).toMatchObject({ code: "INVALID_INPUT" });
  });

  it("is one for every copy of the package in the process", () => {
    const shared = (globalThis as Record<symbol, unknown>)[Symbol.for("driftlock.ambient")];
    expect(shared).toBeDefined();
    withLabels({ a: "1" }, () => expect((shared as { getStore(): unknown }).getStore()).toBe(currentAmbient()));
  });
});
