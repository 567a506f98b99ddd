import { describe, expect, it } from "vitest";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { bench, costing, heard, refusal } from "../engine/kit.js";

const free = () =>
  new TagBasedModelDowngradeRule({ condition: ({ labels }) => labels["plan"] === "free", downgradeTo: "small" });

describe("TagBasedModelDowngradeRule", () => {
  it("swaps the model when its condition holds, and says so in an event", async () => {
    const { policy } = bench([free()]);
    const events = heard(policy, "call-amended");
    const auth = await policy.authorize(costing(0.1, { labels: { plan: "free" } }));
    expect(auth.request.model).toBe("small");
    expect(auth.heldUsd).toBe(0.01);
    expect(events.map(({ event }) => event)).toMatchObject([
      { model: "small", from: { model: "flat", maxOutputTokens: 100 } },
    ]);
    expect((await auth.settle({ inputTokens: 0, outputTokens: 100 })).costUsd).toBe(0.01);
  });

  it("leaves other calls alone", async () => {
    const { policy } = bench([free()]);
    const events = heard(policy, "call-amended");
    expect((await policy.authorize(costing(0.1, { labels: { plan: "paid" } }))).request.model).toBe("flat");
    expect((await policy.authorize(costing(0.1))).request.model).toBe("flat");
    expect(events).toEqual([]);
  });

  it("is seen by evaluate as the downgrade it is", async () => {
    const { policy } = bench([free()]);
    expect(await policy.evaluate(costing(0.1, { labels: { plan: "free" } }))).toEqual([
      {
        rule: "TagBasedModelDowngradeRule",
        allow: true,
        action: "downgrade",
        metadata: { downgradeTo: "small" },
        shadow: false,
      },
    ]);
  });

  it("lets the rules after it and before it judge the new model", async () => {
    const limit = () => new MaxCostPerRequestRule({ maxUsd: 0.05 });
    for (const rules of [[free(), limit()], [free(), limit()].toReversed()]) {
      const { policy } = bench(rules);
      const auth = policy.authorize(costing(0.1, { labels: { plan: "free" } }));
      if (rules[0] instanceof MaxCostPerRequestRule) await refusal(auth);
      else expect((await auth).request.model).toBe("small");
    }
  });

  it("blocks when its condition throws: an unknown plan is not a right to the dear model", async () => {
    const rule = new TagBasedModelDowngradeRule({
      condition: (): boolean => {
        throw new Error("no such plan");
      },
      downgradeTo: "small",
    });
    const violation = await refusal(bench([rule]).policy.authorize(costing(0.1)));
    expect(violation.ruleName).toBe("TagBasedModelDowngradeRule");
    expect(violation.cause).toMatchObject({ message: "no such plan" });
  });

  it("refuses a call that its adapter cannot change, rather than let the dear model go", async () => {
    const { policy } = bench([free()]);
    const violation = await refusal(policy.authorize(costing(0.1, { labels: { plan: "free" }, amendable: false })));
    expect(violation.decision).toMatchObject({ action: "downgrade", metadata: { downgradeTo: "small" } });
    expect(violation.message).toContain("small");
  });

  it("in shadow swaps nothing", async () => {
    const { policy } = bench([
      new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "small", mode: "shadow" }),
    ]);
    expect((await policy.authorize(costing(0.1))).request.model).toBe("flat");
  });

  it("does not swap operations, whose cost is fixed", async () => {
    const { policy } = bench([new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "small" })]);
    const auth = await policy.authorize({ operation: "search", costUsd: 0.1 });
    expect(auth.heldUsd).toBe(0.1);
    expect(auth.request.operation).toBe("search");
  });

  it.each<[object, string]>([
    [{ downgradeTo: "small" }, "condition"],
    [{ condition: true, downgradeTo: "small" }, "condition"],
    [{ condition: () => true }, "downgradeTo"],
    [{ condition: () => true, downgradeTo: "" }, "downgradeTo"],
    [{ condition: () => true, downgradeTo: ["small"] }, "downgradeTo"],
  ])("refuses %o and names %s", (options, field) => {
    expect(() => new TagBasedModelDowngradeRule(options as never)).toThrow(
      expect.objectContaining({ field: `TagBasedModelDowngradeRule.${field}` }),
    );
  });
});
