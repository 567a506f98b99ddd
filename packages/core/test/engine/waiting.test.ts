import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import type { ReserveRequest } from "../../src/ledger/ledger.js";
import { MemoryLedger } from "../../src/ledger/memory.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { ManualClock } from "../../src/testing/manual-clock.js";
import { bench, costing, heard, pass, refusal, settled, used, watch } from "./kit.js";

const budget = () => new MonthlyBudgetRule({ maxUsd: 1 });
const open = { model: "flat", inputTokens: 0 };

describe("a call that does not fit now", () => {
  it("waits for the holds of others, and goes as soon as there is room", async () => {
    const { policy } = bench([budget()]);
    const events = heard(policy, "call-waiting");
    const first = await policy.authorize(costing(0.8));
    const second = watch(policy.authorize(costing(0.5, { labels: { user_id: "ada" } })));
    await settled();
    expect(second.state).toBe("waiting");
    expect(events.map(({ event }) => event)).toMatchObject([{ model: "flat", ruleName: "MonthlyBudgetRule" }]);
    await first.settle(used(0.1));
    await settled();
    expect(second.value?.heldUsd).toBe(0.5);
    expect(events).toHaveLength(1);
  });

  it("is refused at once when no hold that comes back could make room", async () => {
    const { policy, clock } = bench([budget()]);
    await (await policy.authorize(costing(0.6))).settle(used(0.6));
    await policy.authorize(costing(0.2));
    const timers = clock.pending;
    await refusal(policy.authorize(costing(0.5)));
    await refusal(policy.authorize(costing(1.5)));
    expect(clock.pending).toBe(timers);
  });

  it("is refused as soon as that becomes so while it waits", async () => {
    const { policy } = bench([budget()]);
    const first = await policy.authorize(costing(0.6));
    const second = watch(policy.authorize(costing(0.5)));
    await settled();
    await first.settle(used(0.6));
    await settled();
    expect(second.error).toMatchObject({
      ruleName: "MonthlyBudgetRule",
      decision: { metadata: { spentUsd: 0.6, heldUsd: 0 } },
    });
  });

  it("waits at most waitMs, the call's own or the policy's; 0 is never", async () => {
    const { policy, clock } = bench([budget()], { waitMs: 2_000 });
    await policy.authorize(costing(1));
    const [usual, patient] = [
      watch(policy.authorize(costing(0.5))),
      watch(policy.authorize(costing(0.5, { waitMs: 3_000 }))),
    ];
    await refusal(policy.authorize(costing(0.5, { waitMs: 0 })));
    await pass(clock, 1_950);
    expect(usual.state).toBe("waiting");
    await pass(clock, 50);
    expect([usual.state, patient.state]).toEqual(["failed", "waiting"]);
    await pass(clock, 1_000);
    expect(patient.error).toMatchObject({ ruleName: "MonthlyBudgetRule" });
  });

  it("leaves the line when it is aborted, with the signal's reason, and the next one goes on", async () => {
    const { policy } = bench([budget()]);
    const controller = new AbortController();
    const first = await policy.authorize(costing(0.7));
    const large = watch(policy.authorize(costing(0.9, { signal: controller.signal })));
    await settled();
    const small = watch(policy.authorize(costing(0.3)));
    await settled();
    expect(small.state).toBe("waiting");
    controller.abort(new Error("user left"));
    await settled();
    expect(large.error).toMatchObject({ message: "user left" });
    expect(small.state).toBe("done");
    await first.release();
  });

  it("leaves the line also when the signal fires while it is trying", async () => {
    const controller = new AbortController();
    const when = async ({ labels }: { labels: Readonly<Record<string, string>> }) => {
      if (labels["slow"] === "y") controller.abort(new Error("user left"));
      return false;
    };
    const { policy } = bench([{ name: "slow", when, evaluate: () => expect.fail("it does not apply") }, budget()]);
    await policy.authorize(costing(0.7));
    watch(policy.authorize(costing(0.9)));
    await settled();
    const call = watch(policy.authorize(costing(0.9, { labels: { slow: "y" }, signal: controller.signal })));
    await settled();
    expect(call.error).toMatchObject({ message: "user left" });
  });

  it("leaves no timer and no listener behind, however it ended", async () => {
    const { policy, clock } = bench([budget()]);
    const first = await policy.authorize(costing(1));
    const controller = new AbortController();
    const { signal } = new AbortController();
    const calls = [
      watch(policy.authorize(costing(0.5, { signal }))),
      watch(policy.authorize(costing(0.4, { signal: controller.signal }))),
      watch(policy.authorize(costing(0.6, { waitMs: 100 }))),
    ];
    await pass(clock, 150);
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    controller.abort();
    await first.settle(used(0.1));
    await settled();
    expect(calls.map(({ state }) => state)).toEqual(["done", "failed", "failed"]);
    expect(getEventListeners(signal, "abort")).toEqual([]);
    await calls[0]!.value!.settle();
    await pass(clock, 25_000, 1_000);
    expect(clock.pending).toBe(0);
  });
});

describe("the line", () => {
  it("is first come, first served: a small call does not pass a large one on the same meter", async () => {
    const { policy } = bench([budget()]);
    const first = await policy.authorize(costing(0.7));
    const order: string[] = [];
    const large = watch(policy.authorize(costing(0.9)).then((auth) => (order.push("large"), auth)));
    await settled();
    const small = watch(policy.authorize(costing(0.1)).then((auth) => (order.push("small"), auth)));
    await settled();
    expect([large.state, small.state]).toEqual(["waiting", "waiting"]);
    await first.release();
    await settled();
    expect(order).toEqual(["large", "small"]);
  });

  it("is one for each meter: others pass", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1, scope: "user" })]);
    const call = (user_id: string) => costing(0.6, { labels: { user_id } });
    await policy.authorize(call("ada"));
    const waiting = watch(policy.authorize(call("ada")));
    await settled();
    expect((await policy.authorize(call("bob"))).heldUsd).toBe(0.6);
    expect((await policy.authorize(costing(5))).heldUsd).toBe(5);
    expect(waiting.state).toBe("waiting");
  });

  it("keeps the order of arrival over several meters", async () => {
    const user = () => new BudgetRule({ name: "user", maxUsd: 1, scope: "user" });
    const { policy } = bench([new BudgetRule({ name: "all", maxUsd: 2 }), user()]);
    const call = (user_id: string, usd: number) => costing(usd, { labels: { user_id } });
    const ada = await policy.authorize(call("ada", 1));
    const bob = await policy.authorize(call("bob", 1));
    const order: string[] = [];
    const noted = (name: string, usd: number) =>
      watch(policy.authorize(call(name, usd)).then((auth) => (order.push(name), auth)));
    const second = noted("bob", 0.8);
    await settled();
    const third = noted("eve", 0.5);
    await settled();
    await ada.release();
    await settled();
    // bob came first but lacks room of his own; eve lines up behind him on the common meter all the same.
    expect([second.state, third.state]).toEqual(["waiting", "done"]);
    expect(order).toEqual(["eve"]);
    await bob.release();
    await settled();
    expect(order).toEqual(["eve", "bob"]);
  });

  it("keeps it also for one that comes over from another meter", async () => {
    const all = new BudgetRule({
      name: "all",
      maxUsd: 1,
      per: "lifetime",
      when: ({ labels }) => labels["all"] === "y",
    });
    const { policy } = bench([all, new BudgetRule({ name: "user", maxUsd: 1, per: "lifetime", scope: "user" })]);
    const eve = await policy.authorize(costing(1, { labels: { user_id: "eve", all: "y" } }));
    const bob = await policy.authorize(costing(1, { labels: { user_id: "bob" } }));
    const first = watch(policy.authorize(costing(0.6, { labels: { user_id: "bob", all: "y" } })));
    await settled();
    const second = watch(policy.authorize(costing(0.6, { labels: { user_id: "bob" } })));
    await settled();
    await eve.release();
    await settled();
    expect([first.state, second.state]).toEqual(["waiting", "waiting"]);
    await bob.release();
    await settled();
    expect([first.state, second.state]).toEqual(["done", "waiting"]);
  });

  it("wakes as many as fit when one large hold comes back", async () => {
    const { policy, clock } = bench([budget()]);
    const first = await policy.authorize(costing(1));
    const calls = Array.from({ length: 12 }, () => watch(policy.authorize(costing(0.1))));
    await settled();
    // A deadline each, one look-out for all, one lease.
    expect(clock.pending).toBe(12 + 2);
    await first.release();
    await settled();
    expect(calls.map(({ state }) => state)).toEqual([...Array<string>(10).fill("done"), "waiting", "waiting"]);
  });

  it("notices what other processes give back, and leases that end, within 250 ms", async () => {
    const { policy, clock } = bench([budget()]);
    const other = await policy.authorize(costing(1));
    const waiting = watch(policy.authorize(costing(0.5)));
    await settled();
    // Closed on the ledger itself, as another process would: nobody here is told.
    const { hold } = JSON.parse(Buffer.from(other.ticket, "base64url").toString()) as { hold: never };
    await policy.ledger.release(hold);
    await pass(clock, 250);
    expect(waiting.state).toBe("done");
  });

  it("does not miss a hold that comes back while the ledger is answering", async () => {
    const clock = new ManualClock();
    const ledger = new MemoryLedger({ clock });
    const answers: (() => void)[] = [];
    const reserve = ledger.reserve.bind(ledger);
    // The ledger has decided; its answer is on the way until it is let go.
    ledger.reserve = ((request: ReserveRequest) => {
      const answer = reserve(request);
      return new Promise((resolve) => answers.push(() => resolve(answer)));
    }) as never;
    const { policy } = bench([budget()], { store: ledger, clock });
    const first = watch(policy.authorize(costing(1)));
    await settled();
    answers.shift()!();
    await settled();
    const second = watch(policy.authorize(costing(0.5)));
    await settled();
    await first.value!.release();
    answers.shift()!();
    await settled();
    answers.shift()?.();
    await settled();
    expect(second.state).toBe("done");
  });

  it("has maxWaiters places; further calls are refused at once, and room does not wait for them", async () => {
    const { policy } = bench([budget()], { maxWaiters: 2 });
    const first = await policy.authorize(costing(1));
    const waiting = [1, 2].map(() => watch(policy.authorize(costing(0.5))));
    await settled();
    await refusal(policy.authorize(costing(0.5)));
    await refusal(policy.authorize({ ...open, maxOutputTokens: 1 }));
    await first.release();
    await settled();
    expect(waiting.map(({ state }) => state)).toEqual(["done", "done"]);
    // Those who left make place for others.
    const again = [1, 2].map(() => watch(policy.authorize(costing(0.5))));
    await settled();
    expect(again.map(({ state }) => state)).toEqual(["waiting", "waiting"]);
  });

  it("of all policies on one ledger is one", async () => {
    const { policy, clock } = bench([budget()]);
    const other = bench([budget()], { store: policy.ledger, clock }).policy;
    const first = await policy.authorize(costing(1));
    const waiting = watch(other.authorize(costing(0.8)));
    await settled();
    const later = watch(policy.authorize(costing(0.2)));
    await first.release();
    await settled();
    expect([waiting.state, later.state]).toEqual(["done", "done"]);
  });
});
