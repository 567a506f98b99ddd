import { describe, expect, it } from "vitest";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { bench, costing, failure, heard, month, refusal, used } from "./kit.js";

const budget = () => new MonthlyBudgetRule({ maxUsd: 1 });

describe("authorize", () => {
  it("holds the worst case until the call is settled at what it used", async () => {
    const { policy } = bench([budget()]);
    const auth = await policy.authorize(costing(0.6));
    expect(auth.heldUsd).toBe(0.6);
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0.6 });
    expect(await auth.settle(used(0.25))).toEqual({
      id: auth.id,
      model: "flat",
      costUsd: 0.25,
      heldUsd: 0.6,
      estimated: false,
    });
    expect(await month(policy)).toEqual({ spentUsd: 0.25, heldUsd: 0 });
  });

  it("gives the request to be sent: the caller's own where nothing had to change", async () => {
    const { policy } = bench([budget()]);
    const request = costing(0.1, { params: { temperature: 0 }, labels: { user_id: "ada" }, endpoint: "/chat" });
    const auth = await policy.authorize(request);
    expect(auth.request).toEqual(request);
  });

  it("holds nothing when it throws", async () => {
    const { policy } = bench([
      budget(),
      { name: "no", evaluate: () => ({ allow: false }) as never, when: ({ labels }) => labels["no"] === "y" },
    ]);
    await refusal(policy.authorize(costing(0.1, { labels: { no: "y" } })));
    await refusal(policy.authorize(costing(1.1)));
    await failure(policy.authorize(costing(0.1, { model: "nobody's" })));
    await failure(policy.authorize({ model: "flat" }));
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0 });
  });

  it("takes an operation of a known cost in place of a model call", async () => {
    const { policy } = bench([budget()]);
    const auth = await policy.authorize({ operation: "search", costUsd: 0.3 });
    expect(auth.request).toMatchObject({ model: "search", operation: "search", costUsd: 0.3 });
    expect(await auth.settle()).toEqual({ id: auth.id, model: "search", costUsd: 0.3, heldUsd: 0.3, estimated: false });
    await refusal(policy.authorize({ operation: "search", costUsd: 0.8 }));
  });
});

describe("settle", () => {
  it("counts once: the same close again answers the same receipt", async () => {
    const { policy } = bench([budget()]);
    const events = heard(policy, "call-settled");
    const auth = await policy.authorize(costing(0.5));
    const [first, second] = await Promise.all([auth.settle(used(0.2)), auth.settle(used(0.5))]);
    expect(second).toBe(first);
    expect(await auth.settle()).toBe(first);
    await auth.release();
    expect(await month(policy)).toEqual({ spentUsd: 0.2, heldUsd: 0 });
    expect(events).toHaveLength(1);
  });

  it("without a usage charges the bound, never nothing", async () => {
    const { policy } = bench([budget()]);
    const auth = await policy.authorize(costing(0.4));
    expect(await auth.settle()).toMatchObject({ costUsd: 0.4, estimated: true });
    expect(await month(policy)).toEqual({ spentUsd: 0.4, heldUsd: 0 });
  });

  it("records what was really spent, also beyond the hold, and then blocks", async () => {
    const { policy } = bench([budget()]);
    const auth = await policy.authorize(costing(0.4));
    expect(await auth.settle(used(1.5))).toMatchObject({ costUsd: 1.5, overshootUsd: 1.1 });
    expect((await refusal(policy.authorize(costing(0.001)))).decision.metadata).toMatchObject({
      spentUsd: 1.5,
      maxUsd: 1,
    });
  });

  it("takes the provider's own cost over the price book, with or without tokens", async () => {
    const { policy } = bench([budget()]);
    expect(await (await policy.authorize(costing(0.4))).settle({ ...used(0.4), costUsd: 0.1 })).toMatchObject({
      costUsd: 0.1,
    });
    expect(await (await policy.authorize(costing(0.4))).settle({ costUsd: 0.2 })).toMatchObject({
      costUsd: 0.2,
      estimated: false,
    });
    expect(await month(policy)).toMatchObject({ spentUsd: expect.closeTo(0.3, 12) });
  });

  it("prices by the model that answered, and by the one that was sent where that one is not known", async () => {
    const { policy } = bench([budget()]);
    expect(await (await policy.authorize(costing(0.1))).settle({ ...used(0.1), model: "small" })).toMatchObject({
      costUsd: 0.01,
      model: "flat",
    });
    expect(
      await (await policy.authorize(costing(0.1))).settle({ ...used(0.1), model: "flat-2026-01-01" }),
    ).toMatchObject({ costUsd: 0.1 });
    expect(await (await policy.authorize(costing(0.1))).settle({ ...used(0.1), model: "internal name" })).toMatchObject(
      { costUsd: 0.1 },
    );
  });

  it.each([
    [{ inputTokens: -1, outputTokens: 1 }, "usage.inputTokens", -1],
    [{ inputTokens: 1, outputTokens: Number.NaN }, "usage.outputTokens", Number.NaN],
    [{ inputTokens: 1.5, outputTokens: 1 }, "usage.inputTokens", 1.5],
    [{ inputTokens: Infinity, outputTokens: 1 }, "usage.inputTokens", Infinity],
    [{ inputTokens: 1 }, "usage.outputTokens", undefined],
    [{ inputTokens: 1, outputTokens: 1, cacheReadTokens: 2 }, "usage.cacheReadTokens", 2],
    [{ inputTokens: 1, outputTokens: 1, reasoningTokens: 2 }, "usage.reasoningTokens", 2],
    [{ costUsd: Number.NaN }, "usage.costUsd", Number.NaN],
    [{ costUsd: -0.01 }, "usage.costUsd", -0.01],
    [{ inputTokens: "5", outputTokens: 1 }, "usage.inputTokens", "5"],
    ["lots", "usage", "lots"],
  ])("with %j charges the bound, then is a UsageError that carries the receipt", async (usage, field, value) => {
    const { policy } = bench([budget()]);
    const auth = await policy.authorize(costing(0.4));
    const receipt = { id: auth.id, model: "flat", costUsd: 0.4, heldUsd: 0.4, estimated: true };
    expect(await failure(auth.settle(usage as never))).toMatchObject({ code: "INVALID_USAGE", field, value, receipt });
    expect(await month(policy)).toEqual({ spentUsd: 0.4, heldUsd: 0 });
    await expect(auth.release()).resolves.toBeUndefined();
    expect(await month(policy)).toEqual({ spentUsd: 0.4, heldUsd: 0 });
  });

  it("of an operation by tokens charges its fixed cost, never nothing", async () => {
    const { policy } = bench([budget()]);
    const auth = await policy.authorize({ operation: "search", costUsd: 0.3 });
    expect(await auth.settle({ inputTokens: 5, outputTokens: 5 })).toMatchObject({ costUsd: 0.3, estimated: false });
    expect(
      await (await policy.authorize({ operation: "search", costUsd: 0.3 })).settle({ costUsd: 0.1 }),
    ).toMatchObject({ costUsd: 0.1 });
  });

  it("of a free call that was billed all the same counts the bill, though no money limit stands before such a call", async () => {
    const { policy } = bench([budget()], { prices: { free: ["ollama"] } });
    const free = { model: "llama3", provider: "ollama", inputTokens: 1_000 };
    expect(await (await policy.authorize(free)).settle({ costUsd: 1.5 })).toMatchObject({ costUsd: 1.5, heldUsd: 0 });
    expect(await month(policy)).toEqual({ spentUsd: 1.5, heldUsd: 0 });
    expect(await (await policy.authorize(free)).settle({ inputTokens: 5, outputTokens: 5 })).toMatchObject({
      costUsd: 0,
    });
    await policy.run({ operation: "look", costUsd: 0 }, () => 1);
    await refusal(policy.authorize({ operation: "look", costUsd: 0.000_000_001 }));
  });
});

describe("release", () => {
  it("gives everything back, once", async () => {
    const { policy } = bench([budget()]);
    const events = heard(policy, "call-released", "call-settled");
    const auth = await policy.authorize(costing(1));
    await Promise.all([auth.release(), auth.release()]);
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0 });
    expect(events.map(({ name, event }) => ({ name, ...event }))).toMatchObject([
      { name: "call-released", id: auth.id, reason: "never-sent" },
    ]);
  });

  it("does not stop a later settle: what was spent is charged after all, once", async () => {
    const { policy } = bench([budget()]);
    const auth = await policy.authorize(costing(0.5));
    await auth.release();
    expect(await auth.settle(used(0.2))).toMatchObject({ costUsd: 0.2 });
    await auth.settle(used(0.2));
    await auth.release();
    expect(await month(policy)).toEqual({ spentUsd: 0.2, heldUsd: 0 });
  });
});
