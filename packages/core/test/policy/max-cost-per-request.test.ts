import { describe, expect, it } from "vitest";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { bench, costing, refusal, spend } from "../engine/kit.js";

describe("MaxCostPerRequestRule", () => {
  it("blocks a call whose worst case exceeds maxUsd", async () => {
    const { policy } = bench([new MaxCostPerRequestRule({ maxUsd: 0.1 })]);
    const { ruleName, decision } = await refusal(policy.authorize(costing(0.101)));
    expect(ruleName).toBe("MaxCostPerRequestRule");
    expect(decision.metadata).toStrictEqual({ estimatedCostUsd: 0.101, maxUsd: 0.1 });
    await spend(policy, 0.1);
  });

  it("counts the prompt and every choice asked for", async () => {
    const { policy } = bench([new MaxCostPerRequestRule({ maxUsd: 0.1 })]);
    await refusal(policy.authorize({ model: "flat", inputTokens: 51, maxOutputTokens: 50 }));
    await refusal(policy.authorize({ model: "flat", inputTokens: 0, maxOutputTokens: 51, params: { n: 2 } }));
    await policy.authorize({ model: "flat", inputTokens: 50, maxOutputTokens: 50 });
  });

  it("lowers a call without a maximum to the tokens that maxUsd buys", async () => {
    const { policy } = bench([new MaxCostPerRequestRule({ maxUsd: 0.5 })]);
    const auth = await policy.authorize({ model: "flat", inputTokens: 100 });
    expect(auth.request.maxOutputTokens).toBe(400);
    expect(auth.heldUsd).toBe(0.5);
  });

  it("blocks when maxUsd buys less than the least worth sending", async () => {
    const { policy } = bench([new MaxCostPerRequestRule({ maxUsd: 0.5 })], { minOutputTokens: 401 });
    const { decision } = await refusal(policy.authorize({ model: "flat", inputTokens: 100 }));
    expect(decision.metadata).toStrictEqual({ estimatedCostUsd: 4.196, maxUsd: 0.5 });
  });

  it("lowers the caller's own maximum only with clamp, and never one that the caller cannot change", async () => {
    const { policy } = bench([new MaxCostPerRequestRule({ maxUsd: 0.5 })]);
    const own = { model: "flat", inputTokens: 0, maxOutputTokens: 600 };
    await refusal(policy.authorize(own));
    await refusal(policy.authorize({ ...own, clamp: true, amendable: false }));
    await refusal(policy.authorize({ ...own, clamp: true, params: { response_format: { type: "json_schema" } } }));
    await refusal(policy.authorize({ ...own, clamp: true, params: { tool_choice: "required" } }));
    const auth = await policy.authorize({ ...own, clamp: true, params: { tool_choice: "auto" } });
    expect(auth.request.maxOutputTokens).toBe(500);
  });

  it("takes the tightest of two, in any order", async () => {
    for (const limits of [
      [0.5, 0.4],
      [0.4, 0.5],
    ]) {
      const { policy } = bench(limits.map((maxUsd) => new MaxCostPerRequestRule({ maxUsd })));
      expect((await policy.authorize({ model: "flat", inputTokens: 0 })).request.maxOutputTokens).toBe(400);
    }
  });

  it("lets a free model pass with a limit of 0, and no paid one", async () => {
    const { policy } = bench([new MaxCostPerRequestRule({ maxUsd: 0 })], {
      prices: { free: ["ollama"], overrides: { paid: { inputUsdPerMTok: 1, outputUsdPerMTok: 1 } } },
    });
    await policy.authorize({ model: "llama3", provider: "ollama", inputTokens: 1_000 });
    await refusal(policy.authorize({ model: "paid", inputTokens: 1, maxOutputTokens: 0 }));
  });

  it("in shadow lowers nothing", async () => {
    const { policy } = bench([new MaxCostPerRequestRule({ maxUsd: 0.5, mode: "shadow" })]);
    const auth = await policy.authorize({ model: "flat", inputTokens: 0 });
    expect(auth.request.maxOutputTokens).toBe(4_096);
    expect(auth.heldUsd).toBe(4.096);
  });

  it.each([{}, { maxUsd: -0.01 }, { maxUsd: Number.NaN }, { maxUsd: null }, { maxUsd: 9_000_001 }])(
    "refuses %j",
    (options) => {
      expect(() => new MaxCostPerRequestRule(options as never)).toThrow(
        expect.objectContaining({ field: "MaxCostPerRequestRule.maxUsd" }),
      );
    },
  );
});
