import { describe, expect, it } from "vitest";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { ManualClock } from "../../src/testing/manual-clock.js";
import { faults, faulty, FaultyLedger } from "./faulty-ledger.js";
import { bench, costing, heard, pass, used, watch } from "./kit.js";

describe("a settle that fails", () => {
  it.each(faults)(
    "(%s) never costs the caller the answer: the receipt is pending, the charge is retried",
    async (fault) => {
      const { policy, clock, ledger, books } = faulty();
      const answer = { usage: { prompt_tokens: 0, completion_tokens: 250 } };
      ledger.fail(fault, "settle");
      const events = heard(policy, "store-failed", "call-settled");
      const run = watch(policy.run(costing(0.6), () => answer));
      await pass(clock, 600);
      expect(run.value).toBe(answer);
      expect(events.map(({ name }) => name)).toContain("store-failed");
      expect(events.find(({ name }) => name === "call-settled")?.event).toMatchObject({
        receipt: { costUsd: 0.25, pending: true },
      });
      ledger.heal();
      await pass(clock, 6_000);
      expect(await books()).toEqual({ spentUsd: 0.25, heldUsd: 0 });
      expect(events.filter(({ name }) => name === "call-settled")).toHaveLength(1);
    },
  );

  it("is drained by close", async () => {
    const { policy, clock, ledger, books } = faulty();
    const auth = await policy.authorize(costing(0.6));
    ledger.fail("reject", "settle");
    expect(await auth.settle(used(0.25))).toMatchObject({ pending: true });
    const closing = watch(policy.close());
    await pass(clock, 200);
    expect(closing.state).toBe("waiting");
    ledger.heal();
    await pass(clock, 1_000);
    expect(closing.state).toBe("done");
    expect(await books()).toEqual({ spentUsd: 0.25, heldUsd: 0 });
    await pass(clock, 20_000, 1_000);
    expect(clock.pending).toBe(0);
  });

  it("is drained by close also when it has not failed yet", async () => {
    const { policy, clock, ledger, books } = faulty();
    const auth = await policy.authorize(costing(0.6));
    ledger.fail("hang", "settle");
    watch(auth.settle(used(0.25)));
    const closing = watch(policy.close());
    await pass(clock, 520, 20);
    ledger.heal();
    await pass(clock, 1_000);
    expect(closing.state).toBe("done");
    expect(await books()).toEqual({ spentUsd: 0.25, heldUsd: 0 });
  });

  it("that close cannot drain does not hang for ever, and is said", async () => {
    const warnings: string[] = [];
    const emit = process.emitWarning;
    process.emitWarning = ((message: string) => void warnings.push(message)) as typeof process.emitWarning;
    const { policy, clock, ledger } = faulty();
    const auth = await policy.authorize(costing(0.6));
    ledger.fail("hang", "settle");
    watch(auth.settle(used(0.25)));
    const closing = watch(policy.close());
    await pass(clock, 30_000, 100);
    process.emitWarning = emit;
    expect(closing.state).toBe("done");
    expect(warnings).toEqual([expect.stringContaining("1 closes never reached the store")]);
  });

  it.each(["reject", "lost", "late"] as const)(
    "(%s) tells the rules' onClosed when it got through at last, once",
    async (fault) => {
      const clock = new ManualClock();
      const store = new FaultyLedger(clock);
      const seen: unknown[] = [];
      const rule = {
        name: "noting",
        evaluate: new MonthlyBudgetRule({ maxUsd: 1 }).evaluate,
        onClosed: (...[, receipt, readings]: [unknown, unknown, unknown]) => void seen.push(receipt, readings),
      };
      const { policy } = bench([rule], { store, clock });
      const auth = await policy.authorize(costing(0.6));
      store.fail(fault, "settle");
      watch(auth.settle(used(0.25)));
      await pass(clock, 700);
      expect(seen).toEqual([]);
      store.heal();
      await pass(clock, 5_000);
      expect(seen).toEqual([
        { id: auth.id, model: "flat", costUsd: 0.25, heldUsd: 0.6, estimated: false },
        [{ settled: 0.25, held: 0 }],
      ]);
    },
  );
});

describe("a release that fails", () => {
  it.each(faults)("(%s) is retried until it is acknowledged", async (fault) => {
    const { policy, clock, ledger, books } = faulty();
    const auth = await policy.authorize(costing(0.6));
    ledger.fail(fault, "release");
    const released = watch(auth.release());
    await pass(clock, 600);
    expect(released.state).toBe("done");
    ledger.heal();
    await pass(clock, 6_000);
    expect(await books()).toEqual({ spentUsd: 0, heldUsd: 0 });
  });
});
