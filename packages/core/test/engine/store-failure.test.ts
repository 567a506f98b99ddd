import { describe, expect, it } from "vitest";
import { StateLostError, StoreError } from "../../src/errors/store-error.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { RestrictModelRule } from "../../src/policy/rules/restrict-model.js";
import { VelocityLimitRule } from "../../src/policy/rules/velocity-limit.js";
import { ManualClock } from "../../src/testing/manual-clock.js";
import { faults, faulty, FaultyLedger } from "./faulty-ledger.js";
import { bench, costing, failure, heard, pass, refusal, settled, used, watch } from "./kit.js";

describe("a reserve that fails", () => {
  it.each(faults)("(%s) is a StoreError within storeTimeoutMs, and nothing stays held", async (fault) => {
    const { policy, clock, ledger, books } = faulty();
    const events = heard(policy, "store-failed", "call-reserved");
    ledger.fail(fault, "reserve");
    const call = watch(policy.authorize(costing(1)));
    await pass(clock, 500);
    expect(call.error).toMatchObject({ code: "STORE_FAILED", operation: "reserve" });
    expect(events.map(({ name, event }) => [name, (event as { operation?: string }).operation])).toEqual([
      ["store-failed", "reserve"],
    ]);
    await pass(clock, 1_000);
    expect(await books()).toEqual({ spentUsd: 0, heldUsd: 0 });
    ledger.heal();
    await policy.authorize(costing(1));
  });

  it.each(faults)("(%s) holds nothing later either, also when the release fails for a while", async (fault) => {
    const { policy, clock, ledger, books } = faulty();
    ledger.fail(fault, "reserve");
    ledger.fail("reject", "release");
    const call = watch(policy.authorize(costing(1)));
    await pass(clock, 3_000);
    expect(StoreError.isInstance(call.error)).toBe(true);
    ledger.heal();
    await pass(clock, 12_000);
    expect(await books()).toEqual({ spentUsd: 0, heldUsd: 0 });
  });

  it("is not retried as another call: a later try has an id of its own", async () => {
    const { policy, clock, ledger } = faulty();
    ledger.fail("lost", "reserve");
    const call = watch(policy.authorize(costing(0.5, { id: "a" })));
    await pass(clock, 600);
    expect(call.state).toBe("failed");
    ledger.heal();
    expect(["DUPLICATE_CALL", "STORE_FAILED"]).toContain(
      ((await failure(policy.authorize(costing(0.5, { id: "a" })))) as { code: string }).code,
    );
    await policy.authorize(costing(0.5, { id: "b" }));
  });
});

describe("onStoreFailure: allow", () => {
  it.each(faults)("(%s) lets calls through and books what they spent when the store is back", async (fault) => {
    const { policy, clock, ledger, books } = faulty({ onStoreFailure: "allow" });
    ledger.fail(fault, "reserve", "settle", "release");
    const call = watch(policy.authorize(costing(0.6)));
    await pass(clock, 500);
    expect(call.value?.heldUsd).toBe(0);
    const receipt = watch(call.value!.settle(used(0.25)));
    await pass(clock, 500);
    expect(receipt.value).toMatchObject({ costUsd: 0.25, pending: true });
    ledger.heal();
    await pass(clock, 12_000);
    expect(await books()).toEqual({ spentUsd: 0.25, heldUsd: 0 });
  });

  it("still counts calls for rates once the store is back", async () => {
    const clock = new ManualClock();
    const store = new FaultyLedger(clock);
    const { policy } = bench([new VelocityLimitRule({ maxRequests: 1, windowSeconds: 60 })], {
      store,
      clock,
      onStoreFailure: "allow",
    });
    store.fail("throw", "reserve");
    const auth = await policy.authorize(costing(0.1));
    store.heal();
    await auth.settle(used(0.1));
    await pass(clock, 1_000);
    await refusal(policy.authorize(costing(0.1)));
  });

  it("does not let through what a rule blocks by itself", async () => {
    const clock = new ManualClock();
    const store = new FaultyLedger(clock);
    const { policy } = bench(
      [new MonthlyBudgetRule({ maxUsd: 1 }), new RestrictModelRule({ disallowedModels: ["flat"] })],
      { store, clock, onStoreFailure: "allow" },
    );
    store.fail("throw", "reserve", "check");
    expect((await refusal(policy.authorize(costing(0.1)))).ruleName).toBe("RestrictModelRule");
  });

  it("holds for calls that would stand in line, too", async () => {
    const { policy, ledger } = faulty({ onStoreFailure: "allow" });
    await policy.authorize(costing(1));
    watch(policy.authorize(costing(0.5)));
    await settled();
    ledger.fail("throw", "check", "reserve");
    expect((await policy.authorize(costing(0.5))).heldUsd).toBe(0);
  });
});

describe("onStoreFailure: { localMaxUsd }", () => {
  it("lets through up to that much in this process until the ledger has the money", async () => {
    const { policy, clock, ledger } = faulty({ onStoreFailure: { localMaxUsd: 0.5 } });
    ledger.fail("throw", "reserve");
    const first = await policy.authorize(costing(0.3));
    expect(await failure(policy.authorize(costing(0.3)))).toMatchObject({ code: "STORE_FAILED" });
    const second = await policy.authorize(costing(0.2));
    expect(await failure(policy.authorize(costing(0.001)))).toMatchObject({ code: "STORE_FAILED" });
    ledger.heal();
    await pass(clock, 1_000);
    await (await policy.authorize(costing(0.1))).release();
    ledger.fail("throw", "reserve");
    // That the store answered in between does not make room: the two calls are not in the ledger yet.
    expect(await failure(policy.authorize(costing(0.001)))).toMatchObject({ code: "STORE_FAILED" });
    await first.settle();
    await second.release();
    await policy.authorize(costing(0.5));
  });

  it("of 0 lets only free calls through", async () => {
    const { policy, ledger } = faulty({ onStoreFailure: { localMaxUsd: 0 } });
    ledger.fail("throw", "reserve");
    await policy.authorize(costing(0));
    expect(await failure(policy.authorize(costing(0.001)))).toMatchObject({ code: "STORE_FAILED" });
  });
});

describe("other operations that fail", () => {
  it.each(faults)("(%s) a renewal is reported and tried again in the next round", async (fault) => {
    const { policy, clock, ledger, books } = faulty({ leaseMs: 6_000 });
    const events = heard(policy, "store-failed");
    await policy.authorize(costing(0.6));
    ledger.fail(fault, "renew");
    await pass(clock, 2_600);
    expect(events.map(({ event }) => event.operation)).toEqual(["renew"]);
    ledger.heal();
    await pass(clock, 8_000);
    expect(await books()).toEqual({ spentUsd: 0, heldUsd: 0.6 });
  });

  it("usage, freeze and adjust are a StoreError within the timeout", async () => {
    const { policy, clock, ledger } = faulty();
    const who = { by: "grace", reason: "x" };
    ledger.fail("hang", "read", "amend");
    for (const ask of [
      () => policy.usage(),
      () => policy.freeze(who),
      () => policy.adjust("MonthlyBudgetRule", { addUsd: 1, ...who }),
    ]) {
      const asked = watch<unknown>(ask());
      await pass(clock, 500);
      expect(asked.error).toMatchObject({ code: "STORE_FAILED" });
    }
  });

  it("a check behind a queue is a StoreError, and the place in line is given up", async () => {
    const { policy, clock, ledger } = faulty();
    const open = await policy.authorize(costing(1));
    const first = watch(policy.authorize(costing(0.5)));
    await settled();
    ledger.fail("reject", "check");
    expect(await failure(policy.authorize(costing(0.5)))).toMatchObject({ code: "STORE_FAILED", operation: "check" });
    ledger.heal();
    await open.release();
    await settled();
    expect(first.state).toBe("done");
    await pass(clock, 1_000);
  });
});

describe("lost state", () => {
  it("refuses every call, also with onStoreFailure: allow, until the loss is accepted", async () => {
    const clock = new ManualClock();
    const store = new FaultyLedger(clock);
    let lost = true;
    const reserve = store.reserve.bind(store);
    store.reserve = (request) => {
      if (lost) throw new StateLostError("reserve", "driftlock");
      return reserve(request);
    };
    store.acceptLoss = () => void (lost = false);
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })], { store, clock, onStoreFailure: "allow" });
    expect(await failure(policy.authorize(costing(0.1)))).toMatchObject({ code: "STATE_LOST" });
    await policy.acceptLoss();
    await policy.authorize(costing(0.1));
  });
});
