import { expect, it } from "vitest";
import { StoreError } from "../../src/errors/store-error.js";
import { MemoryLedger } from "../../src/ledger/memory.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { ManualClock } from "../../src/testing/index.js";
import { bench, costing, failure, pass } from "./kit.js";

it("a call whose reserve's answer was lost gives back its own hold, and none of another call with the same id", async () => {
  const clock = new ManualClock();
  const ledger = new MemoryLedger({ clock });
  const deaf = Object.assign(Object.create(ledger) as Ledger, {
    reserve: (request: never) => (ledger.reserve(request), Promise.reject(new Error("the answer was lost"))),
    release: ledger.release.bind(ledger),
    amend: ledger.amend.bind(ledger),
  });
  const rules = () => [new MonthlyBudgetRule({ maxUsd: 1 })];
  const one = bench(rules(), { store: ledger, clock }).policy;
  const other = bench(rules(), { store: deaf, clock }).policy;
  const held = async () => (await one.usage())[0]!.heldUsd;

  await one.authorize(costing(0.4, { id: "job-1" }));
  expect(await failure(other.authorize(costing(0.4, { id: "job-1" })))).toBeInstanceOf(StoreError);
  await pass(clock, 1_000);
  expect(await held()).toBe(0.4);

  expect(await failure(other.authorize(costing(0.4, { id: "job-2" })))).toBeInstanceOf(StoreError);
  expect(await held()).toBe(0.8);
  await pass(clock, 1_000);
  expect(await held()).toBe(0.4);
});
