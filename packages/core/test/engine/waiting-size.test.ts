import { describe, expect, it } from "vitest";
import { withAmbient } from "../../src/ambient/ambient.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { bench, costing, failure, month, pass, refusal, settled, used, watch } from "./kit.js";

const open = { model: "flat", inputTokens: 0 };

describe("want first, then what is left:", () => {
  it("a call without a maximum waits for all it wants while that can come", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 5 })]);
    const first = await policy.authorize(open);
    const second = watch(policy.authorize(open));
    await settled();
    expect(second.state).toBe("waiting");
    await first.settle(used(0.5));
    await settled();
    expect(second.value?.request.maxOutputTokens).toBe(4_096);
  });

  it("it goes on waiting while less than all it wants has come back", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 5 })]);
    const [small, large] = [await policy.authorize(costing(2)), await policy.authorize(costing(2.9))];
    const call = watch(policy.authorize(open));
    await settled();
    await small.settle(used(0.1));
    await settled();
    expect(call.state).toBe("waiting");
    await large.settle(used(0.1));
    await settled();
    expect(call.value?.request.maxOutputTokens).toBe(4_096);
  });

  it("five calls of a $5 month all go, none is blocked at $0 spent", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 5 })]);
    const calls = Array.from({ length: 5 }, () =>
      policy.run(open, async () => (await settled(), { usage: { prompt_tokens: 0, completion_tokens: 100 } })),
    );
    await Promise.all(calls);
    expect((await month(policy)).spentUsd).toBeCloseTo(0.5, 12);
  });

  it("where all it wants can no longer come, it waits for holds and then takes the largest that fits", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 5 })]);
    await (await policy.authorize(costing(2))).settle(used(2));
    const first = await policy.authorize(costing(2.9));
    const second = watch(policy.authorize(open));
    await settled();
    expect(second.state).toBe("waiting");
    await first.settle(used(0.9));
    await settled();
    expect(second.value?.request.maxOutputTokens).toBe(2_100);
  });

  it("takes the largest that fits at once where nothing is held", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    const timers = clock.pending;
    const auth = await policy.authorize(open);
    expect(auth.request.maxOutputTokens).toBe(1_000);
    expect(clock.pending).toBe(timers + 1);
  });

  it("a wait that ends takes the largest that fits then, or is refused under the least worth sending", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 5 })], { waitMs: 1_000 });
    await policy.authorize(costing(4.5));
    const fits = watch(policy.authorize(open));
    await pass(clock, 1_050);
    expect(fits.value?.request.maxOutputTokens).toBe(500);
    const none = watch(policy.authorize(open));
    await pass(clock, 1_050);
    expect(none.error).toMatchObject({ ruleName: "MonthlyBudgetRule" });
  });
});

describe("a call inside another open governed call", () => {
  it("never waits: it takes what is there, or is refused at once", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    await policy.run(costing(0.6), async () => {
      const timers = clock.pending;
      await refusal(policy.authorize(costing(0.5)));
      expect((await policy.authorize(open)).request.maxOutputTokens).toBe(400);
      expect(clock.pending).toBeLessThanOrEqual(timers + 1);
    });
  });

  it("passes those who wait: they may be waiting for the very call it is part of", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    const waiting: { state: string }[] = [];
    await policy.run(
      costing(0.6),
      async () => {
        waiting.push(watch(Promise.resolve(withAmbient({ insideCall: false }, () => policy.authorize(costing(0.5))))));
        await settled();
        expect((await policy.authorize(costing(0.3))).heldUsd).toBe(0.3);
      },
      () => used(0.1),
    );
    await settled();
    expect(waiting[0]!.state).toBe("done");
  });

  it("is one only as long as the block runs", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    await failure(policy.run(costing(0.1), () => Promise.reject(new Error("x"))));
    const first = await policy.authorize(costing(0.9));
    const second = watch(policy.authorize(costing(0.5)));
    await settled();
    expect(second.state).toBe("waiting");
    await first.release();
    await settled();
    expect(second.state).toBe("done");
  });
});
