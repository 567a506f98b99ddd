import { describe, expect, it } from "vitest";
import type { Receipt } from "../../src/domain/receipt.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { PerUserBudgetRule } from "../../src/policy/rules/per-user-budget.js";
import { bench, costing, failure, heard, month, pass, refusal, settled, used, watch } from "./kit.js";

const budget = () => new MonthlyBudgetRule({ maxUsd: 1 });

describe("a ticket", () => {
  it("closes the call from another process, on every meter it is held on", async () => {
    const rules = () => [budget(), new PerUserBudgetRule({ userBudgets: { ada: 1 } })];
    const { policy, clock } = bench(rules());
    const other = bench(rules(), { store: policy.ledger, clock }).policy;
    const labels = { user_id: "ada" };
    const { ticket, id } = await policy.authorize(costing(0.6, { labels }));
    expect(await other.settle(ticket, used(0.2))).toEqual({
      id,
      model: "flat",
      costUsd: 0.2,
      heldUsd: 0.6,
      estimated: false,
    });
    for (const { spentUsd, heldUsd } of await policy.usage({ labels }))
      expect({ spentUsd, heldUsd }).toEqual({ spentUsd: 0.2, heldUsd: 0 });
  });

  it("counts once, wherever and however often it is closed", async () => {
    const { policy, clock } = bench([budget()]);
    const other = bench([budget()], { store: policy.ledger, clock }).policy;
    const events = [...["own"], ...["other"]].map((name, i) => ({
      name,
      log: heard([policy, other][i]!, "call-settled", "call-released"),
    }));
    const auth = await policy.authorize(costing(0.6));
    await other.settle(auth.ticket, used(0.2));
    await other.settle(auth.ticket, used(0.5));
    await auth.settle(used(0.6));
    await auth.release();
    expect(await month(policy)).toEqual({ spentUsd: 0.2, heldUsd: 0 });
    const released = await policy.authorize(costing(0.6));
    await other.settle(released.ticket, used(0.1));
    await released.release();
    expect((await month(policy)).spentUsd).toBeCloseTo(0.3, 12);
    expect(events.map(({ log }) => log.length)).toEqual([0, 2]);
  });

  it("of a call of this very process closes it as its own settle would", async () => {
    const receipts: Receipt[] = [];
    const rule = {
      name: "watcher",
      evaluate: budget().evaluate,
      onClosed: (_context: unknown, receipt: Receipt) => void receipts.push(receipt),
    };
    const { policy, clock } = bench([rule], { leaseMs: 3_000, maxCallMs: 10_000 });
    const auth = await policy.authorize(costing(0.6));
    const receipt = await policy.settle(auth.ticket, used(0.2));
    expect(await auth.settle(used(0.5))).toBe(receipt);
    expect(receipts).toEqual([receipt]);
    await pass(clock, 20_000, 1_000);
    expect(clock.pending).toBe(0);
    expect(await month(policy)).toEqual({ spentUsd: 0.2, heldUsd: 0 });
  });

  it("wakes those who wait for its money", async () => {
    const { policy } = bench([budget()]);
    const { ticket } = await policy.authorize(costing(1));
    const waiting = watch(policy.authorize(costing(0.5)));
    await settled();
    await policy.settle(ticket, used(0.1));
    await settled();
    expect(waiting.state).toBe("done");
  });

  it("without a usage is charged at the bound", async () => {
    const { policy, clock } = bench([budget()]);
    const { ticket } = await policy.authorize(costing(0.6));
    expect(await bench([], { store: policy.ledger, clock }).policy.settle(ticket)).toMatchObject({
      costUsd: 0.6,
      estimated: true,
    });
  });

  it("with a usage that cannot be true is charged at the bound, then a UsageError", async () => {
    const { policy, clock } = bench([budget()]);
    const { ticket } = await policy.authorize(costing(0.6));
    const other = bench([], { store: policy.ledger, clock }).policy;
    expect(await failure(other.settle(ticket, { inputTokens: -1, outputTokens: 0 }))).toMatchObject({
      code: "INVALID_USAGE",
      receipt: { costUsd: 0.6 },
    });
    expect(await month(policy)).toEqual({ spentUsd: 0.6, heldUsd: 0 });
  });

  it("prices what was asked about the prompt there: its kinds travel with it", async () => {
    const { policy, clock } = bench([budget()]);
    const messages = [{ role: "user", content: "hi" }];
    const { ticket } = await policy.authorize({ model: "gpt-4o", messages, maxOutputTokens: 100 });
    const other = bench([], { store: policy.ledger, clock }).policy;
    const own = await (
      await policy.authorize({ model: "gpt-4o", messages, maxOutputTokens: 100 })
    ).settle({ inputTokens: 10, outputTokens: 10 });
    expect((await other.settle(ticket, { inputTokens: 10, outputTokens: 10 })).costUsd).toBe(own.costUsd);
  });

  it("holds no text of the prompt", async () => {
    const { policy } = bench([budget()]);
    const { ticket } = await policy.authorize({
      model: "flat",
      messages: [{ role: "user", content: "a secret" }],
      params: { system: "another secret" },
      maxOutputTokens: 1,
    });
    const shown = Buffer.from(ticket, "base64url").toString();
    expect(shown).not.toContain("secret");
    expect(JSON.parse(shown)).toMatchObject({ v: 1, model: "flat" });
  });

  it.each([
    undefined,
    null,
    7,
    "",
    "nonsense",
    Buffer.from("{}").toString("base64url"),
    Buffer.from('{"v":2,"id":"x"}').toString("base64url"),
    Buffer.from("[").toString("base64url"),
  ])("%j is none: a ConfigError", async (ticket) => {
    expect(await failure(bench([]).policy.settle(ticket as string))).toMatchObject({
      code: "INVALID_INPUT",
      field: "ticket",
    });
  });
});

describe("record", () => {
  it("books spend without asking, on every meter the rules would claim", async () => {
    const { policy } = bench([budget(), new PerUserBudgetRule({ userBudgets: { ada: 5 } })]);
    const labels = { user_id: "ada" };
    expect(await policy.record({ id: "image-1", costUsd: 0.7, labels })).toEqual({
      id: "image-1",
      model: "record",
      costUsd: 0.7,
      heldUsd: 0,
      estimated: false,
    });
    expect((await policy.usage({ labels })).map(({ spentUsd }) => spentUsd)).toEqual([0.7, 0.7]);
    expect((await refusal(policy.authorize(costing(0.4)))).decision.metadata).toMatchObject({ spentUsd: 0.7 });
  });

  it("books beyond a limit too: it has been spent", async () => {
    const { policy } = bench([budget()]);
    await policy.record({ id: "a", costUsd: 3 });
    expect(await month(policy)).toEqual({ spentUsd: 3, heldUsd: 0 });
    await refusal(policy.authorize(costing(0.001)));
  });

  it("counts once for each id, at once, later and in parallel", async () => {
    const { policy } = bench([budget()]);
    const events = heard(policy, "call-settled");
    await Promise.all([policy.record({ id: "a", costUsd: 0.1 }), policy.record({ id: "a", costUsd: 0.1 })]);
    await policy.record({ id: "a", costUsd: 0.5 });
    await policy.record({ id: "b", costUsd: 0.1 });
    expect(await month(policy)).toEqual({ spentUsd: 0.2, heldUsd: 0 });
    expect(events).toHaveLength(2);
  });

  it("does not touch a call of the same id", async () => {
    const { policy } = bench([budget()]);
    const auth = await policy.authorize(costing(0.5, { id: "a" }));
    await policy.record({ id: "a", costUsd: 0.1 });
    expect(await month(policy)).toEqual({ spentUsd: 0.1, heldUsd: 0.5 });
    await auth.settle(used(0.2));
    expect((await month(policy)).spentUsd).toBeCloseTo(0.3, 12);
  });

  it("prices a usage by its model, or takes its own cost", async () => {
    const { policy } = bench([budget()]);
    expect(await policy.record({ id: "a", usage: { ...used(0.1), model: "flat" } })).toMatchObject({
      costUsd: 0.1,
      model: "flat",
    });
    expect(await policy.record({ id: "b", usage: { ...used(0.1), costUsd: 0.05 } })).toMatchObject({ costUsd: 0.05 });
    expect(await policy.record({ id: "c", usage: { ...used(0.1), model: "flat" }, costUsd: 0.02 })).toMatchObject({
      costUsd: 0.02,
    });
    expect(await failure(policy.record({ id: "d", usage: used(0.1) }))).toMatchObject({ code: "UNKNOWN_MODEL" });
    expect(await failure(policy.record({ id: "e", usage: { ...used(0.1), model: "nobody's" } }))).toMatchObject({
      code: "UNKNOWN_MODEL",
    });
  });

  it("is told to the rules' onClosed and passes thresholds", async () => {
    const seen: unknown[] = [];
    const rule = {
      ...{ name: "watcher", evaluate: budget().evaluate },
      onClosed: (_context: unknown, { costUsd }: Receipt, readings: unknown) => void seen.push([costUsd, readings]),
    };
    const { policy } = bench([rule]);
    const events = heard(policy, "threshold-crossed");
    await policy.record({ id: "a", costUsd: 0.6 });
    await policy.record({ id: "a", costUsd: 0.6 });
    expect(seen).toEqual([[0.6, [{ settled: 0.6, held: 0 }]]]);
    expect(events.map(({ event }) => event.percent)).toEqual([50]);
  });

  it.each([
    [{ costUsd: 1 }, "record.id"],
    [{ id: "", costUsd: 1 }, "record.id"],
    [{ id: 7, costUsd: 1 }, "record.id"],
    [{ id: "a" }, "record.costUsd"],
    [{ id: "a", costUsd: Number.NaN }, "record.costUsd"],
    [{ id: "a", costUsd: -1 }, "record.costUsd"],
    [{ id: "a", costUsd: Infinity }, "record.costUsd"],
    [{ id: "a", costUsd: Number.NaN, usage: { inputTokens: 1, outputTokens: 1, model: "flat" } }, "record.costUsd"],
    [{ id: "a", usage: { inputTokens: -1, outputTokens: 0, model: "flat" } }, "record.usage.inputTokens"],
    [{ id: "a", costUsd: 1, labels: { user_id: 7 } }, "labels.user_id"],
    [undefined, "record.id"],
  ])("of %j is refused, naming %s, and counts nothing", async (entry, field) => {
    const { policy } = bench([budget()]);
    expect(await failure(policy.record(entry as never))).toMatchObject({ code: "INVALID_INPUT", field });
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0 });
    await policy.record({ id: "a", costUsd: 0.1 });
    expect((await month(policy)).spentUsd).toBe(0.1);
  });
});
