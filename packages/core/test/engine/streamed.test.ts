import { describe, expect, it } from "vitest";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { bench, failure, month, pass, settled, used } from "./kit.js";

/** 100 tokens of prompt: $0.10 with `flat`; at most $0.60. */
const request = { model: "flat", inputTokens: 100, maxOutputTokens: 500 };
const policyOf = (options = {}) => bench([new MonthlyBudgetRule({ maxUsd: 10 })], options);

describe("a stream that does not pass through meter", () => {
  it("is told piece by piece, and charged so when its usage never comes", async () => {
    const { policy } = policyOf();
    const auth = await policy.authorize(request);
    auth.streamed("x".repeat(40));
    auth.streamed("y".repeat(40));
    expect(await auth.settle()).toMatchObject({ costUsd: 0.12, estimated: true });
    expect(await month(policy)).toEqual({ spentUsd: 0.12, heldUsd: 0 });
  });

  it("is settled by its usage when that comes", async () => {
    const { policy } = policyOf();
    const auth = await policy.authorize(request);
    auth.streamed("x".repeat(40));
    expect(await auth.settle(used(0.05))).toMatchObject({ costUsd: 0.05, estimated: false });
  });

  it("that fails is charged what was streamed, also with a 4xx: tokens came", async () => {
    const { policy } = policyOf();
    const auth = await policy.authorize(request);
    auth.streamed("x".repeat(40));
    await auth.fail(Object.assign(new Error("x"), { status: 400 }));
    expect(await month(policy)).toEqual({ spentUsd: 0.11, heldUsd: 0 });
  });

  it("keeps its lease only while more comes", async () => {
    const { policy, clock } = policyOf({ leaseMs: 3_000 });
    const auth = await policy.authorize(request);
    for (let i = 0; i < 20; i++) {
      auth.streamed("x");
      await pass(clock, 500);
    }
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0.6 });
    await pass(clock, 6_000);
    expect(await month(policy)).toEqual({ spentUsd: 0.6, heldUsd: 0 });
    await auth.settle(used(0.05));
    expect(await month(policy)).toEqual({ spentUsd: 0.05, heldUsd: 0 });
  });

  it("takes text and nothing else", async () => {
    const auth = await policyOf().policy.authorize(request);
    for (const text of [undefined, null, 7, {}]) {
      expect(await failure(Promise.resolve().then(() => auth.streamed(text as never)))).toMatchObject({
        code: "INVALID_INPUT",
      });
    }
  });
});

describe("a caller that gives its call up", () => {
  it("is charged within a second what was streamed, unless the end is told before", async () => {
    const { policy, clock } = policyOf();
    const [silent, late] = [await policy.authorize(request), await policy.authorize(request)];
    silent.streamed("x".repeat(40));
    silent.giveUp();
    late.giveUp();
    await late.settle(used(0.02));
    expect([silent.closed, late.closed]).toEqual([false, true]);
    await pass(clock, 1_000);
    expect(silent.closed).toBe(true);
    expect((await month(policy)).spentUsd).toBeCloseTo(0.13, 12);
  });

  it("may let the lease run out instead; a close that comes all the same counts", async () => {
    const { policy, clock } = policyOf({ leaseMs: 3_000 });
    const auth = await policy.authorize(request);
    auth.lapse();
    await pass(clock, 6_000);
    expect(await month(policy)).toEqual({ spentUsd: 0.6, heldUsd: 0 });
    await auth.settle(used(0.02));
    await settled();
    expect(await month(policy)).toEqual({ spentUsd: 0.02, heldUsd: 0 });
  });
});
