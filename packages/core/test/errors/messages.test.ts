import { describe, expect, it } from "vitest";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { ConcurrencyLimitRule } from "../../src/policy/rules/concurrency-limit.js";
import type { Rule } from "../../src/policy/rule.js";
import { bench, costing, refusal } from "../engine/kit.js";

/** What a call of $0.20 and 200 tokens is told under a limit of half of it. */
const messageOf = async (rule: Rule) =>
  (await refusal(bench([rule], { waitMs: 0 }).policy.authorize(costing(0.2)))).message;

describe("the message of a refusal", () => {
  it("says which rule, where it stands, when it resets and what the call needs", async () => {
    expect(await messageOf(new BudgetRule({ maxUsd: 0.1, per: "day" }))).toBe(
      "Blocked by BudgetRule: spentUsd 0, heldUsd 0, maxUsd 0.1, scope workspace, resetsAt 2026-03-11T00:00:00.000Z." +
        " The call needs $0.2 at worst.",
    );
  });

  it("counts in what the rule counts", async () => {
    expect(await messageOf(new BudgetRule({ maxTokens: 100 }))).toContain("The call needs 200 tokens at worst.");
    expect(await messageOf(new BudgetRule({ maxCalls: 0 }))).toContain("The call needs one call.");
    expect(await messageOf(new ConcurrencyLimitRule({ maxConcurrent: 0 }))).toContain("The call needs one place.");
  });

  it("holds nothing of the prompt", async () => {
    const messages = [{ role: "user", content: "a secret" }];
    const rule = { name: "r", evaluate: () => ({ allow: false }) as never };
    for (const one of [rule, new BudgetRule({ maxUsd: 0 })]) {
      const { message, decision } = await refusal(bench([one]).policy.authorize({ model: "flat", messages }));
      expect(message + JSON.stringify(decision)).not.toContain("secret");
    }
  });
});
