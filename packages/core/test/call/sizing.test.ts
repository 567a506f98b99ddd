import { describe, expect, it } from "vitest";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { bench, costing, failure, heard, refusal } from "../engine/kit.js";

const rich = () => [new MonthlyBudgetRule({ maxUsd: 1_000 })];
const open = { model: "flat", inputTokens: 0 };

describe("a call without a maximum of its own", () => {
  it("is sent with 4096 output tokens, a reasoning model with 16,384", async () => {
    const { policy } = bench(rich());
    expect((await policy.authorize(open)).request.maxOutputTokens).toBe(4_096);
    expect((await policy.authorize({ ...open, model: "o3" })).request.maxOutputTokens).toBe(16_384);
    expect((await policy.authorize({ ...open, model: "gpt-5-mini" })).request.maxOutputTokens).toBe(16_384);
  });

  it("or with defaultMaxOutputTokens, never more than the model gives", async () => {
    const overrides = { flat: { inputUsdPerMTok: 1, outputUsdPerMTok: 1, maxOutputTokens: 500 } };
    expect((await bench(rich(), { defaultMaxOutputTokens: 900 }).policy.authorize(open)).request.maxOutputTokens).toBe(
      900,
    );
    expect((await bench(rich(), { prices: { overrides } }).policy.authorize(open)).request.maxOutputTokens).toBe(500);
  });

  it("gets less when less is left, but not less than 256, a reasoning model 4096", async () => {
    const left = (usd: number) => bench([new MonthlyBudgetRule({ maxUsd: usd })]).policy;
    expect((await left(0.256).authorize(open)).request.maxOutputTokens).toBe(256);
    await refusal(left(0.255).authorize(open));
    const overrides = { o9: { inputUsdPerMTok: 1_000, outputUsdPerMTok: 1_000 } };
    const reasoning = (usd: number) =>
      bench([new MonthlyBudgetRule({ maxUsd: usd })], { prices: { overrides } }).policy.authorize({
        ...open,
        model: "o9",
      });
    expect((await reasoning(4.1)).request.maxOutputTokens).toBe(4_100);
    await refusal(reasoning(4.095));
  });

  it("or not less than minOutputTokens", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 0.01 })], { minOutputTokens: 10 });
    expect((await policy.authorize(open)).request.maxOutputTokens).toBe(10);
  });

  it("takes the largest that fits under every limit, in money and in tokens", async () => {
    const rules = [
      new MonthlyBudgetRule({ maxUsd: 2 }),
      new BudgetRule({ maxTokens: 1_500, per: "day" }),
      new BudgetRule({ maxUsd: 1.8, per: "hour" }),
    ];
    const { policy } = bench(rules);
    const auth = await policy.authorize({ model: "flat", inputTokens: 500 });
    expect(auth.request.maxOutputTokens).toBe(1_000);
    expect(auth.heldUsd).toBe(1.5);
  });

  it("says that its maximum was set", async () => {
    const { policy } = bench(rich());
    const events = heard(policy, "call-amended", "call-reserved");
    await policy.authorize(open);
    expect(events.map(({ event }) => event)).toMatchObject([
      { maxOutputTokens: 4_096, assumed: false },
      { from: { model: "flat" }, maxOutputTokens: 4_096 },
    ]);
  });

  it("is sized for every choice it asks for", async () => {
    const { policy } = bench(rich());
    expect((await policy.authorize({ ...open, params: { n: 3 } })).heldUsd).toBe(12.288);
    const tight = bench([new MonthlyBudgetRule({ maxUsd: 3 })]).policy;
    expect((await tight.authorize({ ...open, params: { n: 3 } })).request.maxOutputTokens).toBe(1_000);
  });
});

describe("a caller's own maximum", () => {
  it.each([
    ["maxOutputTokens", { maxOutputTokens: 700 }],
    ["max_tokens", { params: { max_tokens: 700 } }],
    ["max_completion_tokens", { params: { max_completion_tokens: 700 } }],
    ["max_output_tokens", { params: { max_output_tokens: 700 } }],
  ])("in %s is what is held", async (_name, more) => {
    const { policy } = bench(rich());
    const events = heard(policy, "call-amended");
    expect((await policy.authorize({ ...open, ...more })).heldUsd).toBe(0.7);
    expect(events).toEqual([]);
  });

  it("of several is the largest: any of them may be what is sent", async () => {
    const { policy } = bench(rich());
    expect(
      (
        await policy.authorize({
          ...open,
          maxOutputTokens: 100,
          params: { max_tokens: 700, max_completion_tokens: null },
        })
      ).heldUsd,
    ).toBe(0.7);
  });

  it("may be 0", async () => {
    const { policy } = bench(rich());
    const auth = await policy.authorize({ model: "flat", inputTokens: 50, maxOutputTokens: 0 });
    expect(auth.heldUsd).toBe(0.05);
    expect(auth.request.maxOutputTokens).toBe(0);
  });

  it("is not lowered by itself: a call too large for what is left is refused", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 0.5 })]);
    await refusal(policy.authorize(costing(0.501)));
    expect((await policy.authorize(costing(0.5))).request.maxOutputTokens).toBe(500);
  });

  it("is lowered with clamp, of the call or of the policy, and never above what is left", async () => {
    const rules = () => [new MonthlyBudgetRule({ maxUsd: 0.5 })];
    expect((await bench(rules()).policy.authorize(costing(9, { clamp: true }))).request.maxOutputTokens).toBe(500);
    expect((await bench(rules(), { clamp: true }).policy.authorize(costing(9))).request.maxOutputTokens).toBe(500);
    await refusal(bench(rules(), { clamp: true }).policy.authorize(costing(9, { clamp: false })));
    await refusal(bench(rules(), { clamp: true, minOutputTokens: 501 }).policy.authorize(costing(9)));
  });

  it("is lowered under every name it was given under: what is sent is never above what is held", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 0.5 })]);
    const params = { max_tokens: 900, max_completion_tokens: 300, temperature: 0 };
    const { request } = await policy.authorize({ ...open, params, clamp: true });
    expect(request).toMatchObject({
      maxOutputTokens: 500,
      params: { max_tokens: 500, max_completion_tokens: 300, temperature: 0 },
    });
    expect(params.max_tokens).toBe(900);
  });

  it.each([
    ["structured output", { params: { response_format: { type: "json_object" } } }],
    ["a schema", { params: { response_format: { type: "json_schema", json_schema: {} } } }],
    ["a forced tool", { params: { tool_choice: { type: "function", function: { name: "f" } } } }],
    ["any forced tool", { params: { tool_choice: "required" } }],
  ])("is never lowered for %s: cut short it is worth nothing", async (_what, more) => {
    await refusal(
      bench([new MonthlyBudgetRule({ maxUsd: 0.5 })]).policy.authorize(costing(0.6, { ...more, clamp: true })),
    );
  });

  it("is lowered where the shape is free", async () => {
    for (const params of [
      { response_format: { type: "text" } },
      { tool_choice: "auto" },
      { tool_choice: "none" },
      { tool_choice: null, response_format: null },
    ]) {
      await bench([new MonthlyBudgetRule({ maxUsd: 0.5 })]).policy.authorize(costing(0.6, { params, clamp: true }));
    }
  });
});

describe("the prompt's bound", () => {
  it("counts messages, tools and parameters that are sent with them", async () => {
    const { policy } = bench(rich());
    const messages = [{ role: "user", content: "x".repeat(100) }];
    const held = async (more: object) =>
      (await policy.authorize({ model: "flat", messages, maxOutputTokens: 0, ...more })).heldUsd;
    const plain = await held({});
    expect(plain).toBeGreaterThan(0.1);
    const tools = [{ type: "function", function: { name: "f", description: "y".repeat(300), parameters: {} } }];
    expect(await held({ tools })).toBeGreaterThan(plain + 0.3);
    expect(
      await held({ params: { response_format: { type: "json_schema", json_schema: { name: "z".repeat(200) } } } }),
    ).toBeGreaterThan(plain + 0.2);
  });

  it("is the caller's own where inputTokens is given", async () => {
    const { policy } = bench(rich());
    expect(
      (
        await policy.authorize({
          model: "flat",
          inputTokens: 10,
          messages: [{ role: "user", content: "x".repeat(900) }],
          maxOutputTokens: 0,
        })
      ).heldUsd,
    ).toBe(0.01);
  });

  it("is the context window where the request refers to input it does not show, or the call is refused", async () => {
    const hidden = {
      messages: [{ role: "user", content: "hi" }],
      params: { previous_response_id: "resp_1" },
      maxOutputTokens: 0,
    };
    const { policy } = bench(rich(), {
      prices: {
        overrides: {
          known: { inputUsdPerMTok: 1_000, outputUsdPerMTok: 1, contextWindow: 5_000 },
          flat: { inputUsdPerMTok: 1, outputUsdPerMTok: 1 },
        },
      },
    });
    expect((await policy.authorize({ ...hidden, model: "known" })).heldUsd).toBe(5);
    expect(await failure(policy.authorize({ ...hidden, model: "flat" }))).toMatchObject({
      code: "INVALID_INPUT",
      field: "inputTokens",
    });
  });
});

describe("reservation: off", () => {
  it("checks money and tokens without holding them: parallel calls can pass a limit", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 }), new BudgetRule({ maxTokens: 1_000 })], {
      reservation: "off",
    });
    const calls = await Promise.all([1, 2, 3].map(() => policy.authorize(costing(0.9))));
    expect(calls.map(({ heldUsd }) => heldUsd)).toEqual([0, 0, 0]);
    expect(await calls[0]!.settle()).toMatchObject({ costUsd: 0.9, heldUsd: 0, estimated: true });
    await calls[1]!.settle();
    expect((await refusal(policy.authorize(costing(0.001)))).decision.metadata).toMatchObject({ spentUsd: 1.8 });
  });

  it("still stamps rates and judges single requests", async () => {
    const { policy } = bench([new BudgetRule({ maxCalls: 1, per: "day" })], { reservation: "off" });
    await policy.authorize(costing(0.9));
    await refusal(policy.authorize(costing(0.9)));
  });
});
