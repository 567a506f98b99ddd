import { describe, expect, it } from "vitest";
import { RestrictModelRule } from "../../src/policy/rules/restrict-model.js";
import { bench, refusal } from "../engine/kit.js";

const call = (model: string, labels: Record<string, string> = {}) => ({
  model,
  inputTokens: 10,
  maxOutputTokens: 10,
  labels,
});

describe("RestrictModelRule", () => {
  it("blocks the listed models and no others", async () => {
    const { policy } = bench([new RestrictModelRule({ disallowedModels: ["gpt-4o", "gpt-4"] })]);
    const { ruleName, decision } = await refusal(policy.authorize(call("gpt-4o")));
    expect(ruleName).toBe("RestrictModelRule");
    expect(decision.metadata).toStrictEqual({ model: "gpt-4o" });
    for (const model of ["gpt-4o-mini", "gpt-4.1", "o3", "gpt-3.5-turbo"]) await policy.authorize(call(model));
  });

  it.each(["gpt-4o-2024-08-06", "gpt-4o-2024-11-20", "GPT-4o", "gpt-4-0613", "gpt-4-turbo-2024-04-09"])(
    "counts %s as a variant of a listed model",
    async (model) => {
      const { policy } = bench([
        new RestrictModelRule({ disallowedModels: new Set(["gpt-4o", "gpt-4", "gpt-4-turbo"]) }),
      ]);
      expect((await refusal(policy.authorize(call(model)))).decision.metadata).toStrictEqual({ model });
    },
  );

  it.each([
    "openai/gpt-4o",
    "us.anthropic.claude-sonnet-4-20250514-v1:0",
    "anthropic/claude-sonnet-4",
    "claude-sonnet-4-0",
    " GPT-4o ",
  ])("knows %s by the name it carries", async (model) => {
    const rule = new RestrictModelRule({ disallowedModels: ["gpt-4o", "claude-sonnet-4"] });
    await refusal(bench([rule], { unknownModel: "allow" }).policy.authorize(call(model)));
  });

  it("restricts only where its condition holds", async () => {
    const { policy } = bench([
      new RestrictModelRule({ disallowedModels: ["gpt-4o"], condition: ({ labels }) => labels["plan"] === "free" }),
    ]);
    await refusal(policy.authorize(call("gpt-4o", { plan: "free" })));
    await policy.authorize(call("gpt-4o", { plan: "paid" }));
    await policy.authorize(call("gpt-4o"));
  });

  it("blocks when its condition throws, or answers anything but false", async () => {
    const conditions = [() => expect.fail("broken"), () => undefined, () => Promise.resolve(false)];
    for (const condition of conditions) {
      const { policy } = bench([
        new RestrictModelRule({ disallowedModels: ["gpt-4o"], condition: condition as never }),
      ]);
      expect((await refusal(policy.authorize(call("gpt-4o")))).ruleName).toBe("RestrictModelRule");
    }
  });

  it("judges operations by their name", async () => {
    const { policy } = bench([new RestrictModelRule({ disallowedModels: ["search"] })]);
    await refusal(policy.authorize({ operation: "search", costUsd: 0.1 }));
    await policy.authorize({ operation: "fetch", costUsd: 0.1 });
  });

  it.each([
    [{}, "disallowedModels"],
    [{ disallowedModels: "gpt-4o" }, "disallowedModels"],
    [{ disallowedModels: [""] }, "disallowedModels"],
    [{ disallowedModels: [7] }, "disallowedModels"],
    [{ disallowedModels: { "gpt-4o": true } }, "disallowedModels"],
    [{ disallowedModels: ["gpt-4o"], condition: true }, "condition"],
  ])("refuses %j and names %s", (options, field) => {
    expect(() => new RestrictModelRule(options as never)).toThrow(
      expect.objectContaining({ field: `RestrictModelRule.${field}` }),
    );
  });
});
