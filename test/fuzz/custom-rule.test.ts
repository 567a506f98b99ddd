import { MonthlyBudgetRule, RuleDecision, type PolicyEngine, type Rule } from "@driftlock/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectUnharmed, fuzz, outcome, policyOf, sound } from "./fuzz.js";
import { answering, hostile, listOf, nonsense, Recipe, recordOf, spoiled, throwing } from "./hostile.js";

const lifetime = { kind: "lifetime" } as const;
const money = { scope: "workspace", measure: "usd", window: lifetime, limit: 5 } as const;
const windows = fc
  .tuple(fc.constantFrom("sliding", "days", "calendar"), nonsense)
  .map(([kind, size]) => size.map((own) => ({ kind, ms: own, days: own, unit: own })));
const claims = fc.oneof(
  spoiled(money),
  spoiled({ ...money, window: "request" }),
  windows.map((window) => window.map((own) => ({ ...money, measure: "calls", window: own }))),
  recordOf({ label: nonsense, value: nonsense }).map((scope) => scope.map((own) => ({ ...money, scope: own }))),
);
const decisions = fc.oneof(
  nonsense,
  hostile({ allow: true, action: null, metadata: {}, claims: [] }),
  listOf(fc.oneof(claims, nonsense), 3).map((list) =>
    list.map((own) => ({ allow: true, action: null, metadata: {}, claims: own })),
  ),
  hostile({ downgradeTo: "flat" }).map((metadata) =>
    metadata.map((own) => ({ allow: true, action: "downgrade", metadata: own })),
  ),
  hostile({ reason: "no" }, "spentUsd").map((metadata) =>
    metadata.map((own) => ({ allow: false, action: "block", metadata: own })),
  ),
  hostile({ reason: "no" }, "spentUsd").map((metadata) => metadata.map((own) => RuleDecision.block(own as never))),
  claims.map((claim) => claim.map((own) => RuleDecision.claim(own as never))),
);
const answers = fc.tuple(answering, decisions).map(([answer, decision]) => answer(decision));

async function judge(rule: unknown): Promise<PolicyEngine | undefined> {
  const made = await outcome(() => policyOf([new MonthlyBudgetRule({ maxUsd: 1_000 }), rule as Rule]));
  if ("error" in made) return undefined;
  const called = await outcome(() => made.value.authorize(sound));
  if ("value" in called) await called.value.settle({ inputTokens: 1, outputTokens: 1 });
  await outcome(() => made.value.evaluate(sound));
  const rows = await outcome(() => made.value.usage());
  if ("value" in rows) for (const { heldUsd } of rows.value) expect(heldUsd).toBe(0);
  return made.value;
}

describe("a custom rule", () => {
  it("may decide anything: the call passes, or a typed error refuses it", async () => {
    await fuzz(1_000, answers, async (evaluate) => void (await judge({ name: "Odd", evaluate })));
  });

  it("that decides nonsense for one call leaves the others alone", async () => {
    await fuzz(300, answers, async (answer) => {
      const evaluate = ({ labels }: { labels: Record<string, string> }) =>
        labels["odd"] === "yes" ? answer() : RuleDecision.allow();
      const policy = policyOf([new MonthlyBudgetRule({ maxUsd: 1_000 }), { name: "Odd", evaluate } as Rule]);
      const called = await outcome(() => policy.authorize({ ...sound, labels: { odd: "yes" } }));
      if ("value" in called) await called.value.release();
      await expectUnharmed(policy);
    });
  });

  it("may answer a shortfall with anything", async () => {
    await fuzz(500, answers, async (onShortfall) => {
      const claim = { ...money, limit: 0 };
      await judge({ name: "Odd", evaluate: () => RuleDecision.claim(claim), onShortfall });
    });
  });

  it("may explain, close and refuse with anything", async () => {
    const hook = fc.tuple(
      fc.constantFrom("explain", "onClosed", "violation", "when"),
      fc.tuple(answering, fc.oneof(nonsense, hostile({ spentUsd: 1 }))).map(([answer, value]) => answer(value)),
    );
    await fuzz(500, fc.tuple(hook, fc.constantFrom(0, 5)), async ([[name, answer], limit]) => {
      const claim = { ...money, limit };
      await judge({ name: "Odd", evaluate: () => RuleDecision.claim(claim), [name]: answer });
      await judge({ name: "Odd", evaluate: () => RuleDecision.block(), [name]: answer });
    });
  });

  it("may have any shape", async () => {
    const rule = hostile(
      { name: "Odd", evaluate: () => RuleDecision.allow() },
      "mode",
      "scope",
      "when",
      "explain",
      "onShortfall",
      "onClosed",
      "violation",
    );
    await fuzz(
      500,
      fc.oneof(rule, fc.constant(new Recipe(() => throwing("name", "evaluate")))),
      async (given) => void (await judge(given.make())),
    );
  });

  it("in shadow refuses nothing, whatever it decides", async () => {
    await fuzz(300, answers, async (evaluate) => {
      const policy = policyOf([
        new MonthlyBudgetRule({ maxUsd: 1_000 }),
        { name: "Odd", mode: "shadow", evaluate } as Rule,
      ]);
      await (await policy.authorize(sound)).release();
      expect((await policy.usage())[0]!.heldUsd).toBe(0);
    });
  });
});
