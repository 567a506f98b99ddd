import { describe, expect, it } from "vitest";
import { MemoryLedger } from "../../src/ledger/memory.js";
import type { PolicyEngineOptions } from "../../src/options.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { ConcurrencyLimitRule } from "../../src/policy/rules/concurrency-limit.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { ManualClock } from "../../src/testing/manual-clock.js";
import { bench, costing, heard, month, pass, refusal, used } from "./kit.js";

/** Two processes on one ledger: the first one's timers stand still from the start, as if it had been killed. */
function deadAndAlive(options: Partial<PolicyEngineOptions> = {}) {
  const clock = new ManualClock();
  const store = new MemoryLedger({ clock });
  const rules = [new MonthlyBudgetRule({ maxUsd: 1 })];
  const alive = bench(rules, { ...options, store, clock }).policy;
  const dead = bench(rules, { ...options, store, clock: new ManualClock() }).policy;
  return { dead, alive, clock };
}

describe("the lease of a live call", () => {
  it("is renewed as long as the process lives", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })], { leaseMs: 3_000, maxCallMs: 3_600_000 });
    const auth = await policy.authorize(costing(0.5));
    await pass(clock, 600_000, 500);
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0.5 });
    expect(await auth.settle(used(0.1))).toMatchObject({ costUsd: 0.1 });
    expect(await month(policy)).toEqual({ spentUsd: 0.1, heldUsd: 0 });
  });

  it("leaves no timer behind once every call is closed", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })], { leaseMs: 3_000 });
    const [a, b] = [await policy.authorize(costing(0.1)), await policy.authorize(costing(0.1))];
    await a.settle();
    await pass(clock, 3_000);
    await b.release();
    await pass(clock, 3_000);
    expect(clock.pending).toBe(0);
  });

  it("ends with the call that nobody closes: after maxCallMs it is charged its bound", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })], { leaseMs: 3_000, maxCallMs: 60_000 });
    const events = heard(policy, "call-settled");
    const auth = await policy.authorize(costing(0.5));
    await pass(clock, 62_000, 500);
    expect(await month(policy)).toEqual({ spentUsd: 0.5, heldUsd: 0 });
    expect(events.map(({ event }) => event.receipt)).toEqual([
      { id: auth.id, model: "flat", costUsd: 0.5, heldUsd: 0.5, estimated: true },
    ]);
  });
});

describe("the lease of a killed process", () => {
  it("charges the bound when it ends, by default", async () => {
    const { dead, alive, clock } = deadAndAlive();
    await dead.authorize(costing(0.6));
    await pass(clock, 59_000, 1_000);
    expect(await month(alive)).toEqual({ spentUsd: 0, heldUsd: 0.6 });
    await pass(clock, 2_000);
    expect(await month(alive)).toEqual({ spentUsd: 0.6, heldUsd: 0 });
    await refusal(alive.authorize(costing(0.5)));
  });

  it("gives the money back when it ends with onLeaseExpiry release, and counts a later settle all the same", async () => {
    const { dead, alive, clock } = deadAndAlive({ onLeaseExpiry: "release" });
    const { ticket } = await dead.authorize(costing(0.6));
    await pass(clock, 61_000, 1_000);
    expect(await month(alive)).toEqual({ spentUsd: 0, heldUsd: 0 });
    await alive.settle(ticket, used(0.2));
    await alive.settle(ticket, used(0.2));
    expect(await month(alive)).toEqual({ spentUsd: 0.2, heldUsd: 0 });
  });

  it("is corrected by a settle that comes after it, once, and told", async () => {
    const { dead, alive, clock } = deadAndAlive();
    const events = heard(alive, "lease-expired", "call-settled");
    const { ticket, id } = await dead.authorize(costing(0.6));
    await pass(clock, 61_000, 1_000);
    expect(await alive.settle(ticket, used(0.1))).toMatchObject({ id, costUsd: 0.1, estimated: false });
    await alive.settle(ticket, used(0.5));
    expect(await month(alive)).toEqual({ spentUsd: 0.1, heldUsd: 0 });
    expect(events.map(({ name }) => name)).toEqual(["call-settled", "lease-expired"]);
  });

  it("gives its turn back to a concurrency limit in any case, or five crashes would shut it for ever", async () => {
    const clock = new ManualClock();
    const store = new MemoryLedger({ clock });
    const rules = [new ConcurrencyLimitRule({ maxConcurrent: 5 })];
    const dead = bench(rules, { store, clock: new ManualClock() }).policy;
    const alive = bench(rules, { store, clock, waitMs: 0 }).policy;
    for (let i = 0; i < 5; i++) await dead.authorize(costing(0.1));
    await refusal(alive.authorize(costing(0.1)));
    await pass(clock, 61_000, 1_000);
    for (let i = 0; i < 5; i++) await alive.authorize(costing(0.1));
  });

  it("stays counted as a call", async () => {
    const clock = new ManualClock();
    const store = new MemoryLedger({ clock });
    const rules = [new BudgetRule({ maxCalls: 1, per: "day" })];
    await bench(rules, { store, clock: new ManualClock() }).policy.authorize(costing(0.1));
    await pass(clock, 61_000, 1_000);
    await refusal(bench(rules, { store, clock }).policy.authorize(costing(0.1)));
  });
});

describe("close", () => {
  it("stops the renewing: nothing of a closed policy keeps ticking", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    await policy.authorize(costing(0.1));
    await policy.close();
    await pass(clock, 200_000, 10_000);
    expect(clock.pending).toBe(0);
  });

  it("makes every further call a ConfigError", async () => {
    const { policy } = bench([]);
    await policy.close();
    const closed = { code: "INVALID_INPUT", field: "policy" };
    for (const call of [
      policy.authorize(costing(0.1)),
      policy.evaluate(costing(0.1)),
      policy.run(costing(0.1), () => 1),
      policy.usage(),
      policy.record({ id: "x", costUsd: 1 }),
    ]) {
      await expect(call).rejects.toMatchObject(closed);
    }
    await policy.close();
  });

  it("lets calls that are open be settled", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    const auth = await policy.authorize(costing(0.1));
    await policy.close();
    expect(await auth.settle(used(0.1))).toMatchObject({ costUsd: 0.1 });
  });

  it("leaves a store that was given open: others may use it", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })], {
      store: new MemoryLedger({ clock: new ManualClock() }),
    });
    const other = bench([new MonthlyBudgetRule({ maxUsd: 1 })], { store: policy.ledger, clock }).policy;
    await policy.close();
    await other.authorize(costing(0.1));
  });
});
