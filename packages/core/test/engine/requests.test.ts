import { describe, expect, it } from "vitest";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { bench, costing, failure, heard, month, refusal, settled, spend, used, watch } from "./kit.js";

const budget = () => new MonthlyBudgetRule({ maxUsd: 100 });

describe("a request that cannot be used", () => {
  const sound = { model: "flat", inputTokens: 1, maxOutputTokens: 1 };
  it.each<[unknown, string]>([
    [undefined, "request"],
    [null, "request"],
    ["flat", "request"],
    [{}, "model"],
    [{ ...sound, model: "" }, "model"],
    [{ ...sound, model: 7 }, "model"],
    [{ ...sound, model: "m".repeat(257) }, "model"],
    [{ model: "flat" }, "messages"],
    [{ model: "flat", messages: "hi" }, "messages"],
    [{ model: "flat", messages: [7] }, "messages[0]"],
    [{ ...sound, inputTokens: -1 }, "inputTokens"],
    [{ ...sound, inputTokens: 0.5 }, "inputTokens"],
    [{ ...sound, inputTokens: Number.NaN }, "inputTokens"],
    [{ ...sound, inputTokens: Infinity }, "inputTokens"],
    [{ ...sound, maxOutputTokens: -1 }, "maxOutputTokens"],
    [{ ...sound, maxOutputTokens: Number.NaN }, "maxOutputTokens"],
    [{ ...sound, maxOutputTokens: "100" }, "maxOutputTokens"],
    [{ ...sound, maxOutputTokens: 100_000_000 }, "maxOutputTokens"],
    [{ ...sound, params: { max_tokens: -1 } }, "params.max_tokens"],
    [{ ...sound, params: { max_completion_tokens: 1.5 } }, "params.max_completion_tokens"],
    [{ ...sound, params: { n: 0 } }, "params.n"],
    [{ ...sound, params: { n: 1_001 } }, "params.n"],
    [{ ...sound, params: { n: Number.NaN } }, "params.n"],
    [{ ...sound, params: [] }, "params"],
    [{ ...sound, tools: {} }, "tools"],
    [{ ...sound, labels: [] }, "labels"],
    [{ ...sound, labels: { user_id: 7 } }, "labels.user_id"],
    [{ ...sound, labels: { user_id: "x".repeat(257) } }, "labels.user_id"],
    [{ ...sound, labels: { "": "x" } }, "labels"],
    [{ ...sound, labels: JSON.parse('{"__proto__":"x"}') as unknown }, "labels"],
    [{ ...sound, labels: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`l${i}`, "x"])) }, "labels"],
    [{ ...sound, id: "" }, "id"],
    [{ ...sound, id: 7 }, "id"],
    [{ ...sound, endpoint: 7 }, "endpoint"],
    [{ ...sound, provider: "" }, "provider"],
    [{ ...sound, waitMs: Number.NaN }, "waitMs"],
    [{ ...sound, waitMs: -1 }, "waitMs"],
    [{ ...sound, clamp: "yes" }, "clamp"],
    [{ ...sound, amendable: 1 }, "amendable"],
    [{ ...sound, signal: {} }, "signal"],
    [{ operation: "", costUsd: 1 }, "operation"],
    [{ operation: "x" }, "costUsd"],
    [{ operation: "x", costUsd: -1 }, "costUsd"],
    [{ operation: "x", costUsd: Number.NaN }, "costUsd"],
    [{ operation: "x", costUsd: 9_001 }, "costUsd"],
  ])("%j is a ConfigError that names %s; nothing is held", async (request, field) => {
    const { policy } = bench([budget()]);
    const error = await failure(policy.authorize(request as never));
    expect(error).toMatchObject({ code: "INVALID_INPUT", field: expect.stringContaining(field) });
    expect((error as Error).message).toMatch(/got /);
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0 });
  });

  it("with options given as undefined equals one without them", async () => {
    const { policy } = bench([budget()]);
    const none = {
      messages: undefined,
      tools: undefined,
      params: undefined,
      labels: undefined,
      endpoint: undefined,
      provider: undefined,
      signal: undefined,
      waitMs: undefined,
      clamp: undefined,
      amendable: undefined,
      id: undefined,
    };
    expect((await policy.authorize({ ...sound, ...none } as never)).heldUsd).toBe(0.002);
  });
});

describe("an unknown model", () => {
  it("is refused by default: the error names it and the price to paste", async () => {
    const { policy } = bench([budget()]);
    const events = heard(policy, "call-denied");
    const violation = await refusal(policy.authorize({ model: "acme/new", provider: "acme", inputTokens: 1 }));
    expect(violation).toMatchObject({
      code: "UNKNOWN_MODEL",
      ruleName: "UnknownModel",
      status: 402,
      decision: { metadata: { model: "acme/new", provider: "acme" } },
    });
    expect(violation.message).toContain('prices: { overrides: { "acme/new": { inputUsdPerMTok');
    expect(events.map(({ event }) => event)).toMatchObject([
      { model: "acme/new", ruleName: "UnknownModel", code: "UNKNOWN_MODEL" },
    ]);
  });

  it("is let through unpriced with allow, and still counted as a call and in tokens", async () => {
    const { policy } = bench([budget()], { unknownModel: "allow" });
    const auth = await policy.authorize({ model: "acme/new", inputTokens: 1 });
    expect(auth.heldUsd).toBe(0);
    expect(await auth.settle({ inputTokens: 1, outputTokens: 1 })).toMatchObject({ costUsd: 0, estimated: true });
    expect(
      await (await policy.authorize({ model: "acme/new", inputTokens: 1 })).settle({ costUsd: 0.5 }),
    ).toMatchObject({ costUsd: 0.5 });
  });

  it("is priced by the price that is given for it, when it is held and when it is settled", async () => {
    const { policy } = bench([budget()], {
      unknownModel: { inputUsdPerMTok: 1_000, outputUsdPerMTok: 2_000, maxOutputTokens: 50 },
    });
    const auth = await policy.authorize({ model: "acme/new", inputTokens: 100 });
    expect(auth.request.maxOutputTokens).toBe(50);
    expect(auth.heldUsd).toBe(0.2);
    expect(await auth.settle({ inputTokens: 100, outputTokens: 5, model: "acme/new-2" })).toMatchObject({
      costUsd: 0.11,
      estimated: false,
    });
    expect(
      await policy.record({ id: "a", usage: { inputTokens: 1, outputTokens: 0, model: "acme/new" } }),
    ).toMatchObject({ costUsd: 0.001 });
    expect((await policy.authorize(costing(0.1))).heldUsd).toBe(0.1);
  });
});

describe("an id", () => {
  it("names one physical attempt: used again while open or after its close it is a DuplicateCallError", async () => {
    const { policy } = bench([budget()]);
    const auth = await policy.authorize(costing(0.1, { id: "a" }));
    expect(auth.id).toBe("a");
    expect(await failure(policy.authorize(costing(0.1, { id: "a" })))).toMatchObject({
      code: "DUPLICATE_CALL",
      id: "a",
    });
    await auth.settle(used(0.1));
    expect(await failure(policy.authorize(costing(0.1, { id: "a" })))).toMatchObject({ code: "DUPLICATE_CALL" });
    expect(await month(policy)).toEqual({ spentUsd: 0.1, heldUsd: 0 });
    await spend(policy, 0.1);
  });

  it("of a refused call is free again: nothing was sent", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    await refusal(policy.authorize(costing(2, { id: "a" })));
    await policy.authorize(costing(1, { id: "a" }));
  });

  it("used by two calls at once lets one through", async () => {
    const { policy } = bench([budget()]);
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => policy.authorize(costing(0.1, { id: "a" }))));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  it("left out is a fresh one each time", async () => {
    const { policy } = bench([budget()]);
    const ids = await Promise.all(Array.from({ length: 50 }, async () => (await policy.authorize(costing(0.01))).id));
    expect(new Set(ids).size).toBe(50);
  });
});

describe("maxAccounts", () => {
  it("refuses a new account beyond it; known ones go on", async () => {
    const { policy } = bench([budget()], { maxAccounts: 3 });
    const call = (user_id: string) => costing(0.1, { labels: { user_id } });
    await policy.authorize(call("ada"));
    await policy.authorize(call("bob"));
    expect(await failure(policy.authorize(call("eve")))).toMatchObject({
      code: "ACCOUNT_LIMIT",
      maxAccounts: 3,
      status: 402,
    });
    await policy.authorize(call("ada"));
    await policy.authorize(costing(0.1));
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0.4 });
  });

  it("forgets idle accounts, which makes room again", async () => {
    const { policy, clock } = bench([budget()], { maxAccounts: 2 });
    await spend(policy, 0.1, { user_id: "ada" });
    await failure(policy.authorize(costing(0.1, { labels: { user_id: "bob" } })));
    clock.advance(70 * 86_400_000);
    await spend(policy, 0.1, { user_id: "bob" });
  });
});

describe("amendable: false", () => {
  it("holds what is assumed, says that it is not binding, and sends no maximum", async () => {
    const { policy } = bench([budget()]);
    const events = heard(policy, "call-reserved", "call-amended");
    const auth = await policy.authorize({ model: "flat", inputTokens: 100, amendable: false });
    expect(auth.heldUsd).toBe(1.1);
    expect(auth.request.maxOutputTokens).toBeUndefined();
    expect(events.map(({ event }) => event)).toMatchObject([{ assumed: true, maxOutputTokens: 1_000, heldUsd: 1.1 }]);
  });

  it("with a maximum is exact", async () => {
    const { policy } = bench([budget()]);
    const events = heard(policy, "call-reserved");
    await policy.authorize(costing(0.1, { amendable: false }));
    expect(events[0]!.event).toMatchObject({ assumed: false, heldUsd: 0.1 });
  });

  it("is refused, not lowered, when only a part of the assumed would fit", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 0.5 })]);
    const call = watch(policy.authorize({ model: "flat", inputTokens: 0, amendable: false }));
    await settled();
    expect(call.error).toMatchObject({ ruleName: "MonthlyBudgetRule" });
  });
});
