import { ConfigError, MemoryLedger, type PolicyEngine, type PolicyEngineOptions } from "@driftlock/core";
import { MissionBudgetExceededError, Missions, type Mission } from "@driftlock/missions";
import { describe, expect, it } from "vitest";
import { policyOf } from "./kit.js";

/** A policy with missions. `big` costs $0.10 a call, `small` a third of it. */
function world(options: Partial<PolicyEngineOptions> = {}) {
  const overrides = { big: price(100), small: price(33) };
  const { clock, policy } = policyOf([], { prices: { overrides }, waitMs: 0, ...options });
  return { clock, policy, missions: new Missions({ policy }) };
}

const price = (usdPerMTok: number) => ({ inputUsdPerMTok: 0, outputUsdPerMTok: usdPerMTok });

/** One call of 1,000 output tokens; which model was sent, or undefined when it was refused. */
async function call(policy: PolicyEngine, model = "big"): Promise<string | undefined> {
  try {
    const auth = await policy.authorize({ model, inputTokens: 0, maxOutputTokens: 1_000 });
    await auth.settle({ inputTokens: 0, outputTokens: 1_000 });
    return auth.request.model;
  } catch (error) {
    if (MissionBudgetExceededError.find(error) === undefined) throw error;
    return undefined;
  }
}

/** Calls `most` times; how many went. */
async function callMany(policy: PolicyEngine, most: number): Promise<number> {
  let went = 0;
  for (let i = 0; i < most; i++) if ((await call(policy)) !== undefined) went++;
  return went;
}

/** One test for each row of the table of what was measured to be wrong elsewhere; the row's own words are the title. */
describe("runs that escape", () => {
  it("downgrade disarms the cap: a degraded mission of $1 never passes it", async () => {
    const { policy, missions } = world();
    await missions.run(
      { name: "m", budgetUsd: 1, onExceed: "downgrade", downgradeTo: "small", expectedCalls: 40 },
      async (m) => {
        expect(await callMany(policy, 200)).toBeGreaterThan(20);
        expect([m.status, m.spent <= 1]).toEqual(["degraded", true]);
      },
    );
  });

  it("parallel children: five of them spend $1.00 under a $1 root", async () => {
    const { policy, missions } = world();
    await missions.run({ name: "root", budgetUsd: 1 }, async (root) => {
      const child = (name: string) => missions.run({ name, budgetUsd: 1.1 }, () => callMany(policy, 11));
      const went = await Promise.all(["a", "b", "c", "d", "e"].map(child));
      expect([went.reduce((sum, n) => sum + n, 0), root.spent]).toEqual([10, 1]);
    });
  });

  it("projection adds the average total as remaining: a $0.20 run with a $0.25 budget finishes its 20 calls", async () => {
    const { policy, missions, clock } = world();
    const run = (interveneOn: "expected" | "low") =>
      missions.run({ name: "daily", budgetUsd: 0.25, interveneOn }, async () => {
        for (let i = 0; i < 20; i++) await (await policy.authorize({ operation: "x", costUsd: 0.01 })).settle();
        clock.advance(1_000);
      });
    for (let earlier = 0; earlier < 3; earlier++) await run("low");
    await run("expected");
    expect(await missions.list({ status: "completed" })).toHaveLength(4);
  });

  it("kill flag in process memory: a kill holds in every process that has the mission", async () => {
    const { clock } = world();
    const shared = new MemoryLedger({ clock });
    const processes = [1, 2, 3, 4].map(() => world({ store: shared, clock }));
    const m = await processes[0]!.missions.start({ name: "m", missionId: "m", budgetUsd: 1 });
    const went = await Promise.all(
      processes.map(({ missions, policy }) => missions.attach("m", () => callMany(policy, 10))),
    );
    expect([went.reduce((sum, n) => sum + n, 0), m.spent]).toEqual([10, 1]);
    for (const { missions, policy } of processes) {
      await missions.attach("m", async (same) => {
        expect(await call(policy)).toBeUndefined();
        expect(same.status).toBe("killed");
      });
    }
  });

  it("re-entering a killed mission's id: it is an error, or the killed mission itself", async () => {
    const { policy, missions } = world();
    const options = { name: "m", missionId: "m", budgetUsd: 0.1 };
    await missions.run(options, () => callMany(policy, 2));
    await expect(missions.run(options, () => call(policy))).rejects.toThrow(ConfigError);
    const again = await missions.run({ ...options, ifExists: "attach" }, async (m) => [
      m.status,
      m.spent,
      await call(policy),
    ]);
    expect(again).toEqual(["killed", 0.1, undefined]);
  });

  it("kill -9: what was under way is charged at its estimate, and the mission goes on (see test/missions/crash)", async () => {
    const { policy, missions, clock } = world();
    const m = await missions.start({ name: "m", missionId: "m", budgetUsd: 1 });
    const auth = await m.within(() => policy.authorize({ operation: "x", costUsd: 0.3 }));
    auth.lapse();
    clock.advance(62_000);
    expect([m.spent, m.held, m.status]).toEqual([0.3, 0, "running"]);
  });

  it("callback that makes a governed call: no deadlock", async () => {
    const { policy, missions } = world();
    const callback = async () => ((await call(policy, "small")) === undefined ? "pause" : "kill") as "pause" | "kill";
    await missions.run({ name: "m", budgetUsd: 1, expectedCalls: 30, onExceed: "callback", callback }, async (m) => {
      expect(await callMany(policy, 5)).toBe(3);
      expect([m.status, m.spent]).toEqual(["killed", 0.333]);
    });
  });

  it("pause = kill, resume = read-only: a raise lets it go on", async () => {
    const { policy, missions } = world();
    const m = await missions.start({ name: "m", missionId: "m", budgetUsd: 0.1, onExceed: "pause" });
    expect(await m.within(() => callMany(policy, 2))).toBe(1);
    await missions.raise("m", { addUsd: 0.1, by: "ada", approvalId: "1" });
    expect(await m.within(() => callMany(policy, 2))).toBe(1);
    expect(m.spent).toBe(0.2);
  });

  it("mission in a generator leaks into the caller: an unrelated call passes", async () => {
    const { policy, missions } = world();
    const stream = await missions.run({ name: "m", missionId: "m", budgetUsd: 0.1 }, async function* () {
      yield await call(policy);
      yield await call(policy);
    });
    const inside: unknown[] = [];
    for await (const sent of stream) {
      inside.push(sent);
      expect(await call(policy)).toBe("big");
    }
    expect([inside, (await missions.get("m"))!.spent]).toEqual([["big", undefined], 0.1]);
  });

  it("per-call list that nothing reads: the record keeps sums and the last 50 calls", async () => {
    const { policy, missions } = world();
    const m = await missions.start({ name: "m", missionId: "m", budgetUsd: 1_000 });
    await m.within(() => callMany(policy, 500));
    const { recent, models } = await missions.stats("m");
    expect([recent.length, models]).toEqual([
      50,
      [{ model: "big", calls: 500, costUsd: 50, tokens: 500_000, estimated: 0 }],
    ]);
  });

  it("mission bound to the last constructed client: a kill lands in the ledger of its own policy", async () => {
    const [a, b] = [world(), world()];
    const [one, other]: Mission[] = await Promise.all(
      [a, b].map(({ missions }) => missions.start({ name: "m", missionId: "m", budgetUsd: 1 })),
    );
    await a.missions.kill("m", { by: "ops", reason: "enough" });
    expect([one!.status, other!.status]).toEqual(["killed", "running"]);
    expect(await other!.within(() => call(b.policy))).toBe("big");
  });
});

describe("money that escapes a mission", () => {
  it("NaN budget, negative window, missing callback: errors at construction", async () => {
    const { missions } = world();
    for (const bad of [
      { budgetUsd: Number.NaN },
      { maxDurationMs: -1 },
      { onExceed: "callback" },
      { onExceed: "downgrade" },
    ] as const) {
      await expect(missions.start({ name: "m", budgetUsd: 1, ...bad })).rejects.toThrow(ConfigError);
    }
  });

  it("unknown model: it is refused in a mission as anywhere", async () => {
    const { policy, missions } = world();
    await missions.run({ name: "m", missionId: "m", budgetUsd: 1 }, async (m) => {
      await expect(call(policy, "a model nobody knows")).rejects.toThrow(/No price is known/);
      expect(m.callCount).toBe(0);
    });
  });
});
