import { describe, expect, it } from "vitest";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { KeyvLedger, PolicyEngine } from "@driftlock/core";
import { Keyv } from "keyv";
import { Missions } from "../src/index.js";
import { bench, call, callUntilRefused, optionsOf, prices, request, settleDown } from "./kit.js";

const nano = (usd: number) => Math.round(usd * 1e9);
const sumOf = (rows: readonly { readonly costUsd: number }[]) =>
  rows.reduce((sum, { costUsd }) => sum + nano(costUsd), 0);

describe("the record of a mission", () => {
  it("says what its calls were and who made them, and adds up", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf({ missionId: "m", budgetUsd: 5 }), async () => {
      await call(policy, "c10", { endpoint: "plan" });
      await call(policy, "c3", { endpoint: "chat", labels: { agent: "writer", node: "draft" } });
      await call(policy, "c3", { endpoint: "chat", labels: { lc_agent_name: "critic" } });
      const auth = await policy.authorize(request("c5"));
      await auth.settle();
      await missions.run(optionsOf({ missionId: "inside" }), () => call(policy, "c20"));
      await policy.record({ id: "tool-1", costUsd: 0.07 });
    });
    const stats = await missions.stats("m");
    expect(stats).toMatchObject({
      id: "m",
      name: "test",
      status: "completed",
      parent: null,
      calls: 5,
      unattributedUsd: 0,
    });
    expect([stats.totalCostUsd, stats.directSpendUsd, stats.nestedSpendUsd]).toEqual([0.48, 0.28, 0.2]);
    expect(stats.models).toEqual([
      { model: "c20", calls: 1, costUsd: 0.2, tokens: 1_000, estimated: 0 },
      { model: "c10", calls: 1, costUsd: 0.1, tokens: 1_000, estimated: 0 },
      { model: "record", calls: 1, costUsd: 0.07, tokens: 0, estimated: 0 },
      { model: "c3", calls: 2, costUsd: 0.06, tokens: 2_000, estimated: 0 },
      { model: "c5", calls: 1, costUsd: 0.05, tokens: 1_000, estimated: 1 },
    ]);
    expect(stats.agents.map(({ agent, costUsd }) => [agent, costUsd])).toEqual([
      ["(none)", 0.42],
      ["writer/draft", 0.03],
      ["critic", 0.03],
    ]);
    expect(stats.endpoints.map(({ endpoint, costUsd }) => [endpoint, costUsd])).toEqual([
      ["(none)", 0.32],
      ["plan", 0.1],
      ["chat", 0.06],
    ]);
    expect(stats.graph.map(({ from, to }) => `${from} → ${to}`)).toEqual([
      "mission inside → c20",
      "(mission) → c10",
      "(mission) → record",
      "(mission) → c5",
      "writer/draft → c3",
      "critic → c3",
    ]);
    for (const list of [stats.models, stats.agents, stats.endpoints, stats.graph]) expect(sumOf(list)).toBe(nano(0.48));
    expect(stats.recent).toHaveLength(6);
    expect(stats.recent[1]).toMatchObject({
      model: "c3",
      endpoint: "chat",
      agent: "writer/draft",
      missionId: "m",
      costUsd: 0.03,
    });
    expect((await missions.stats("inside")).parent).toBe("m");
  });

  it("counts a call that was never sent as a call, at no cost", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf({ missionId: "m" }), async () => {
      await (await policy.authorize(request())).release();
    });
    const { models, calls, totalCostUsd } = await missions.stats("m");
    expect([calls, totalCostUsd]).toEqual([1, 0]);
    expect(models).toEqual([{ model: "c10", calls: 1, costUsd: 0, tokens: 0, estimated: 0 }]);
  });

  it("is the same from another process, and shows what nobody told it as unattributed", async () => {
    const { policy, missions } = bench();
    const other = new PolicyEngine({ rules: [], store: policy.ledger, prices });
    const elsewhere = new Missions({ policy: other });
    await missions.run(optionsOf({ missionId: "m" }), async () => {
      await call(policy);
      const auth = await policy.authorize(request());
      await other.settle(auth.ticket, { inputTokens: 0, outputTokens: 500 });
      await elsewhere.attach("m", () => call(other, "c5"));
    });
    const [mine, theirs] = [await missions.stats("m"), await elsewhere.stats("m")];
    expect(theirs).toEqual(mine);
    expect([mine.totalCostUsd, mine.unattributedUsd, sumOf(mine.models)]).toEqual([0.2, 0.05, nano(0.15)]);
  });

  it("is one however often a process continues the mission: what it keeps does not grow with that", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf({ missionId: "m", budgetUsd: 2 }), () => undefined);
    const size = async () =>
      JSON.stringify((await policy.extension.ledger.amend("label:mission_journal:m", {})).state.notes).length;
    const sizes: number[] = [];
    for (let i = 1; i <= 120; i++) {
      await missions.attach("m", () => call(policy, "c1"));
      // As many as the list of the last calls holds.
      if (i % 60 === 0) sizes.push(await size());
    }
    expect(sizes[1]! / sizes[0]!).toBeLessThan(1.1);
    expect(await missions.stats("m")).toMatchObject({ calls: 120, totalCostUsd: 1.2, unattributedUsd: 0 });
  });

  it("lists missions, the latest first, by status", async () => {
    const { missions, policy, clock } = bench();
    for (let i = 0; i < 250; i++) {
      clock.advance(1);
      await missions.run(optionsOf({ missionId: `m${i}`, budgetUsd: i % 100 === 0 ? 0.1 : 1 }), () => call(policy));
    }
    const rows = await missions.list({ limit: 3 });
    expect(rows.map(({ id }) => id)).toEqual(["m249", "m248", "m247"]);
    expect(rows[0]).toMatchObject({
      name: "test",
      status: "completed",
      totalCostUsd: 0.1,
      budgetUsd: 1,
      calls: 1,
      interventions: 0,
    });
    const killed = await missions.list({ status: "killed", limit: 10 });
    expect(killed.map(({ id, interventions }) => [id, interventions])).toEqual([
      ["m200", 1],
      ["m100", 1],
      ["m0", 1],
    ]);
    expect(await missions.list({ limit: 1_000 })).toHaveLength(250);
  });

  it("forecasts by the last ten ended missions of the name", async () => {
    const { missions, policy, clock } = bench();
    const runOf = (calls: number) => {
      clock.advance(1_000);
      return missions.run(optionsOf({ name: "job", budgetUsd: 100 }), async () => {
        for (let i = 0; i < calls; i++) await call(policy, "c1");
      });
    };
    await runOf(50);
    for (let i = 0; i < 5; i++) for (const calls of [8, 12]) await runOf(calls);
    await missions.run(optionsOf({ name: "job", budgetUsd: 100 }), async (m) => {
      for (let i = 0; i < 4; i++) await call(policy);
      expect([m.estimatedCallsRemaining, m.projectedFinalCost]).toEqual([6, 1]);
    });
    await missions.run(optionsOf({ name: "another" }), async (m) => {
      expect(m.estimatedCallsRemaining).toBeNull();
    });
  });
});

describe("100,000 calls in one mission", () => {
  it("keep memory flat, and are told in under 200 ms", { timeout: 60_000 }, async () => {
    const { missions, policy, clock } = bench();
    const m = await missions.start(optionsOf({ missionId: "m", budgetUsd: 9_000 }));
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const weigh = () => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const make = async (calls: number) => {
      for (let i = 0; i < calls; i++) {
        const auth = await policy.authorize({
          operation: `model-${i % 500}`,
          costUsd: 0.01,
          labels: { agent: `a${i % 300}` },
        });
        await auth.settle();
        if (i % 1_000 === 0) clock.advance(1_000);
      }
    };
    await m.within(() => make(10_000));
    const before = weigh();
    await m.within(() => make(90_000));
    expect(weigh() - before).toBeLessThan(8_000_000);
    const start = performance.now();
    const stats = await missions.stats("m");
    expect(performance.now() - start).toBeLessThan(200);
    expect([stats.calls, nano(stats.totalCostUsd), stats.unattributedUsd]).toEqual([100_000, nano(1_000), 0]);
    for (const list of [stats.models, stats.agents, stats.graph]) expect(sumOf(list)).toBe(nano(1_000));
    expect(stats.models.length).toBeLessThanOrEqual(65);
    expect(stats.recent).toHaveLength(50);
    await m.end();
  });
});

describe("on a store that answers late", () => {
  it("a mission is exact, intervenes before its next call, and a second process learns at its next call", async () => {
    const ledger = new KeyvLedger(new Keyv({ store: slowMap() }), { timeoutMs: 5_000 });
    const [one, two] = [0, 1].map(() => new PolicyEngine({ rules: [], store: ledger, prices, storeTimeoutMs: 5_000 }));
    const [first, second] = [new Missions({ policy: one! }), new Missions({ policy: two! })];
    const m = await first.start(optionsOf({ missionId: "m" }));
    await second.attach("m", async (same) => {
      await Promise.all([m.within(() => call(one!)), call(two!)]);
      await m.refresh();
      expect(m.spent).toBe(0.2);
      await first.kill("m", { by: "ops", reason: "enough" });
      expect(same.status).toBe("running");
      expect((await callUntilRefused(two!, "c10", 1)).refusal!.action).toBe("kill");
      expect(same.status).toBe("killed");
    });
    const n = await first.start(optionsOf({ missionId: "n" }));
    const outcomes = await Promise.all([
      n.within(() => callUntilRefused(one!, "c10", 30)),
      n.within(() => callUntilRefused(one!, "c10", 30)),
      second.attach("n", () => callUntilRefused(two!, "c10", 30)),
    ]);
    expect(outcomes.reduce((sum, { sent }) => sum + sent, 0)).toBe(10);
    await n.end();
    expect(await second.stats("n")).toMatchObject({ status: "killed", totalCostUsd: 1, calls: 10 });
    await settleDown();
  });
});

/** A store in memory that takes a turn of the event loop for everything. */
function slowMap() {
  const stored = new Map<string, string>();
  const late = <T>(act: () => T) => new Promise<T>((resolve) => setImmediate(() => resolve(act())));
  return {
    opts: {},
    get: (key: string) => late(() => stored.get(key)),
    set: (key: string, value: string) => late(() => stored.set(key, value) && true),
    delete: (key: string) => late(() => stored.delete(key)),
    clear: () => late(() => stored.clear()),
  };
}
