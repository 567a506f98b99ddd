import { describe, expect, it } from "vitest";
import { usageFromOpenAI } from "../../src/call/usage-from-openai.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { bench, month } from "../engine/kit.js";

describe("usageFromOpenAI", () => {
  it.each([
    [
      "chat completions",
      {
        prompt_tokens: 100,
        completion_tokens: 50,
        total_tokens: 150,
        prompt_tokens_details: { cached_tokens: 80, audio_tokens: 0 },
        completion_tokens_details: { reasoning_tokens: 20 },
      },
      { inputTokens: 100, outputTokens: 50, cacheReadTokens: 80, reasoningTokens: 20 },
    ],
    [
      "Responses",
      {
        input_tokens: 100,
        input_tokens_details: { cached_tokens: 80 },
        output_tokens: 50,
        output_tokens_details: { reasoning_tokens: 20 },
        total_tokens: 150,
      },
      { inputTokens: 100, outputTokens: 50, cacheReadTokens: 80, reasoningTokens: 20 },
    ],
    ["embeddings, which have no output", { prompt_tokens: 8, total_tokens: 8 }, { inputTokens: 8, outputTokens: 0 }],
    [
      "OpenRouter with its own cost",
      { prompt_tokens: 8, completion_tokens: 2, cost: 0.25 },
      { inputTokens: 8, outputTokens: 2, costUsd: 0.25 },
    ],
    [
      "details that are null",
      { prompt_tokens: 8, completion_tokens: 2, prompt_tokens_details: null, completion_tokens_details: null },
      { inputTokens: 8, outputTokens: 2 },
    ],
  ])("reads %s", (_what, usage, expected) => {
    expect(usageFromOpenAI(usage)).toEqual(expected);
  });

  it("finds nothing where there is nothing", () => {
    for (const nothing of [undefined, null, {}, [], "usage", 7, { tokens: 5 }]) {
      expect(usageFromOpenAI(nothing)).toBeUndefined();
    }
  });

  it("invents nothing where half is missing: that usage is then found to be none", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 10 })]);
    for (const usage of [{ prompt_tokens: 5 }, { completion_tokens: 5 }, { prompt_tokens: 5, total_tokens: 9 }]) {
      await policy.run({ model: "flat", inputTokens: 100, maxOutputTokens: 100 }, () => ({ usage }));
    }
    expect((await month(policy)).spentUsd).toBeCloseTo(0.6, 12);
  });
});

describe("a stream of Responses", () => {
  it("is settled by the usage of its last event", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 10 })]);
    const stream = async function* () {
      yield { type: "response.output_text.delta", delta: "hi" };
      yield { type: "response.completed", response: { usage: { input_tokens: 100, output_tokens: 50 } } };
    };
    for await (const _event of await policy.run({ model: "flat", inputTokens: 100, maxOutputTokens: 100 }, stream));
    expect((await month(policy)).spentUsd).toBe(0.15);
  });
});
