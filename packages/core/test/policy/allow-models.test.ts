import { describe, expect, it } from "vitest";
import { AllowModelsRule } from "../../src/policy/rules/allow-models.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { bench, refusal } from "../engine/kit.js";

const call = (model: string, labels: Record<string, string> = {}) => ({
  model,
  inputTokens: 10,
  maxOutputTokens: 10,
  labels,
});

describe("AllowModelsRule", () => {
  it("blocks every model but the listed ones and their dated variants", async () => {
    const { policy } = bench([new AllowModelsRule({ models: ["gpt-4o-mini"] })]);
    const { ruleName, decision } = await refusal(policy.authorize(call("gpt-4o")));
    expect(ruleName).toBe("AllowModelsRule");
    expect(decision.metadata).toStrictEqual({ model: "gpt-4o" });
    await policy.authorize(call("gpt-4o-mini"));
    await policy.authorize(call("gpt-4o-mini-2024-07-18"));
  });

  it("blocks everything with an empty list", async () => {
    const { policy } = bench([new AllowModelsRule({ models: [] })]);
    await refusal(policy.authorize(call("gpt-4o-mini")));
  });

  it("limits only where its condition holds", async () => {
    const { policy } = bench([
      new AllowModelsRule({ models: ["gpt-4o-mini"], condition: ({ labels }) => labels["plan"] === "free" }),
    ]);
    await refusal(policy.authorize(call("gpt-4o", { plan: "free" })));
    await policy.authorize(call("gpt-4o"));
  });

  it("judges the model of a downgrade, not the one that was asked for", async () => {
    const downgrade = (downgradeTo: string) => new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo });
    const allowed = new AllowModelsRule({ models: ["gpt-4o-mini"] });
    await bench([downgrade("gpt-4o-mini"), allowed]).policy.authorize(call("gpt-4o"));
    await refusal(bench([downgrade("gpt-4.1"), allowed]).policy.authorize(call("gpt-4o-mini")));
  });

  it.each([
    [{}, "models"],
    [{ models: "gpt-4o" }, "models"],
    [{ models: [null] }, "models"],
    [{ models: [], condition: "free" }, "condition"],
  ])("refuses %j and names %s", (options, field) => {
    expect(() => new AllowModelsRule(options as never)).toThrow(
      expect.objectContaining({ field: `AllowModelsRule.${field}` }),
    );
  });
});
