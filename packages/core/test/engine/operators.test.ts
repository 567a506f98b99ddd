import { describe, expect, it } from "vitest";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { PerUserBudgetRule } from "../../src/policy/rules/per-user-budget.js";
import { bench, costing, failure, month, pass, refusal, settled, spend, used, watch } from "./kit.js";

const who = { by: "grace", reason: "runaway agent" };
const rules = () => [new MonthlyBudgetRule({ maxUsd: 1 })];
const ada = { labels: { user_id: "ada" } };

/** Two engines on one ledger, as two processes would be. */
function two() {
  const first = bench(rules());
  return { ...first, other: bench(rules(), { store: first.policy.ledger, clock: first.clock }).policy };
}

describe("freeze", () => {
  it("refuses every call, in every process at its next call, until thaw", async () => {
    const { policy, other, clock } = two();
    await other.authorize(costing(0.1));
    await policy.freeze(who);
    for (const engine of [policy, other]) {
      const violation = await refusal(engine.authorize(costing(0.1)));
      expect(violation.ruleName).toBe("Freeze");
      expect(violation.decision.metadata).toEqual({
        frozen: true,
        ...who,
        at: new Date(clock.now()).toISOString(),
        labels: {},
      });
    }
    await other.thaw(who);
    await policy.authorize(costing(0.1));
    await other.authorize(costing(0.1));
  });

  it("of labels refuses the calls that carry all of them", async () => {
    const { policy } = bench(rules());
    await policy.freeze({ ...who, labels: { user_id: "ada", env: "prod" } });
    await policy.authorize(costing(0.1, ada));
    await policy.authorize(costing(0.1, { labels: { env: "prod" } }));
    await refusal(policy.authorize(costing(0.1, { labels: { user_id: "ada", env: "prod", more: "x" } })));
    await policy.thaw({ ...who, labels: { env: "prod", user_id: "ada" } });
    await policy.authorize(costing(0.1, { labels: { user_id: "ada", env: "prod" } }));
  });

  it("ends by itself at `until`, and says when", async () => {
    const { policy, clock } = bench(rules());
    await policy.freeze({ ...who, until: new Date(clock.now() + 60_000) });
    clock.advance(59_000);
    expect(await refusal(policy.authorize(costing(0.1)))).toMatchObject({ retryAfterMs: 1_000, httpStatus: 429 });
    clock.advance(1_000);
    await policy.authorize(costing(0.1));
  });

  it("stops those who wait as soon as they are woken, and lets open calls be settled", async () => {
    const { policy } = bench(rules());
    const open = await policy.authorize(costing(1));
    const waiting = watch(policy.authorize(costing(0.5)));
    await settled();
    await policy.freeze(who);
    await open.settle(used(0.1));
    await settled();
    expect(waiting.error).toMatchObject({ ruleName: "Freeze" });
    expect(await month(policy)).toEqual({ spentUsd: 0.1, heldUsd: 0 });
  });

  it("refuses operations and free calls too", async () => {
    const { policy } = bench(rules());
    await policy.freeze(who);
    await refusal(policy.authorize({ operation: "search", costUsd: 0 }));
  });
});

describe("adjust", () => {
  it("raises a limit in every process at its next call", async () => {
    const { policy, other } = two();
    await spend(policy, 1);
    await refusal(other.authorize(costing(0.5)));
    await policy.adjust("MonthlyBudgetRule", { addUsd: 0.5, ...who });
    expect((await other.usage())[0]).toMatchObject({ maxUsd: 1.5 });
    await spend(other, 0.5);
    expect((await refusal(policy.authorize(costing(0.1)))).decision.metadata).toMatchObject({
      maxUsd: 1.5,
      spentUsd: 1.5,
    });
  });

  it("lowers a limit, never under 0", async () => {
    const { policy } = bench(rules());
    await policy.adjust("MonthlyBudgetRule", { addUsd: -0.6, ...who });
    await refusal(policy.authorize(costing(0.5)));
    await policy.authorize(costing(0.4));
    await policy.adjust("MonthlyBudgetRule", { addUsd: -3, ...who });
    expect((await refusal(policy.authorize(costing(0.001)))).decision.metadata).toMatchObject({ maxUsd: 0 });
    expect((await policy.usage())[0]).toMatchObject({ maxUsd: 0 });
  });

  it("concerns the rule of that name and the calls with those labels alone", async () => {
    const { policy } = bench([
      new MonthlyBudgetRule({ maxUsd: 9 }),
      new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 1 }),
    ]);
    await policy.adjust("PerUserBudgetRule", { addUsd: 1, ...ada, ...who });
    await policy.authorize(costing(2, ada));
    await refusal(policy.authorize(costing(2, { labels: { user_id: "bob" } })));
  });

  it("ends at `until`, and adds up while it lasts", async () => {
    const { policy, clock } = bench(rules());
    await policy.adjust("MonthlyBudgetRule", { addUsd: 1, until: clock.now() + 60_000, ...who });
    await policy.adjust("MonthlyBudgetRule", { addUsd: 2, until: clock.now() + 120_000, ...who });
    expect((await policy.usage())[0]).toMatchObject({ maxUsd: 4 });
    clock.advance(60_000);
    expect((await policy.usage())[0]).toMatchObject({ maxUsd: 3 });
    clock.advance(60_000);
    expect((await policy.usage())[0]).toMatchObject({ maxUsd: 1 });
  });

  it("with an id counts once, in all processes together", async () => {
    const { policy, other } = two();
    await Promise.all([
      policy.adjust("MonthlyBudgetRule", { addUsd: 1, id: "ticket-7", ...who }),
      other.adjust("MonthlyBudgetRule", { addUsd: 1, id: "ticket-7", ...who }),
    ]);
    await policy.authorize(costing(2));
    await refusal(other.authorize(costing(0.1, { waitMs: 0 })));
  });

  it("lets a call that waits in on a raised limit", async () => {
    const { policy, clock } = bench(rules());
    await policy.authorize(costing(1));
    const waiting = watch(policy.authorize(costing(0.5)));
    await settled();
    await policy.adjust("MonthlyBudgetRule", { addUsd: 0.5, ...who });
    await pass(clock, 250);
    expect(waiting.state).toBe("done");
  });
});

describe("bad orders of operators", () => {
  const { policy } = bench([...rules(), new MaxCostPerRequestRule({ maxUsd: 1 })]);
  it.each([
    [() => policy.freeze({ by: "", reason: "x" }), "freeze.by"],
    [() => policy.freeze({ by: "x" } as never), "freeze.reason"],
    [() => policy.freeze(undefined as never), "freeze.by"],
    [() => policy.freeze({ ...who, until: Number.NaN }), "freeze.until"],
    [() => policy.freeze({ ...who, until: new Date("never") }), "freeze.until"],
    [() => policy.freeze({ ...who, labels: { user_id: 7 } as never }), "labels.user_id"],
    [() => policy.thaw({ by: "x", reason: "" }), "thaw.reason"],
    [() => policy.adjust("MonthlyBudgetRule", { addUsd: Number.NaN, ...who }), "adjust.addUsd"],
    [() => policy.adjust("MonthlyBudgetRule", { addUsd: "1" as never, ...who }), "adjust.addUsd"],
    [() => policy.adjust("MonthlyBudgetRule", { addUsd: 9_000_001, ...who }), "adjust.addUsd"],
    [() => policy.adjust("", { addUsd: 1, ...who }), "ruleName"],
    [() => policy.adjust("MonthlyBudgetRule", { addUsd: 1 } as never), "adjust.by"],
  ])("of %# name the field", async (order, field) => {
    expect(await failure(order())).toMatchObject({ code: "INVALID_INPUT", field });
    await (await policy.authorize(costing(0.01))).release();
  });
});
