import { describe, expect, it } from "vitest";
import { ConfigError, withAmbient } from "@driftlock/core";
import { MissionBudgetExceededError } from "../src/index.js";
import { bench, call, callUntilRefused, optionsOf, refusalOf, settleDown } from "./kit.js";

describe("run", () => {
  it("answers what the function answers, and throws what it throws", async () => {
    const { missions } = bench();
    expect(await missions.run(optionsOf(), () => 7)).toBe(7);
    const failure = new Error("mine");
    await expect(missions.run(optionsOf({ missionId: "f" }), () => Promise.reject(failure))).rejects.toBe(failure);
    expect((await missions.get("f"))!.status).toBe("failed");
  });

  it("counts every call of the function, and ends the mission", async () => {
    const { missions, policy } = bench();
    const live = await missions.run(optionsOf({ missionId: "m" }), async (m) => {
      await Promise.all([call(policy), call(policy, "c5")]);
      expect([m.spent, m.callCount, m.status, m.remaining, m.directSpend, m.nestedSpend]).toEqual([
        0.15,
        2,
        "running",
        0.85,
        0.15,
        0,
      ]);
      return m;
    });
    expect(live.status).toBe("completed");
    await call(policy);
    expect((await missions.get("m"))!.spent).toBe(0.15);
  });

  it("gives every call the label mission_id, and the mission's labels", async () => {
    const { missions, policy } = bench();
    const seen: unknown[] = [];
    policy.on("call-settled", ({ labels }) => void seen.push({ ...labels }));
    await missions.run(optionsOf({ missionId: "m", labels: { team: "red" } }), () => call(policy));
    expect(seen).toEqual([{ mission_id: "m", team: "red" }]);
  });

  it("takes an id once: a live one is an error, an ended one too, unless it is to go on", async () => {
    const { missions, policy } = bench();
    const options = optionsOf({ missionId: "m" });
    const m = await missions.start(options);
    await m.within(() => call(policy));
    await expect(missions.start(options)).rejects.toThrow(ConfigError);
    await m.end();
    await expect(missions.run(options, () => 0)).rejects.toThrow(/missionId.*is a mission already/);
    const spent = await missions.run({ ...options, ifExists: "attach" }, async (again) => {
      await call(policy);
      return again.spent;
    });
    expect(spent).toBe(0.2);
  });

  it("gives an id to one of two that begin it at once, and takes the other's slice back", async () => {
    const { missions } = bench();
    const root = await missions.start(optionsOf({ missionId: "root" }));
    const begun = await root.within(() =>
      Promise.allSettled([1, 2].map(() => missions.start(optionsOf({ missionId: "m", slice: { usd: 0.3 } })))),
    );
    expect(begun.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect([root.held, root.spent]).toEqual([0.3, 0]);
    expect((await missions.list()).map(({ id }) => id).sort()).toEqual(["m", "root"]);
  });

  it("in shadow counts and decides nothing: killed, degraded or spent, every call goes", async () => {
    const { missions, policy } = bench({ mode: "shadow" });
    const shadowed: string[] = [];
    policy.on("call-shadowed", ({ ruleName }) => void shadowed.push(ruleName));
    for (const more of [
      {},
      { onExceed: "downgrade", downgradeTo: "c1" },
      { onExceed: "pause", onPause: "wait" },
    ] as const) {
      await missions.run(optionsOf({ budgetUsd: 0.2, ...more }), async (m) => {
        for (let i = 0; i < 5; i++) expect(await call(policy)).toBe("c10");
        expect([m.spent, m.callCount, m.directSpend]).toEqual([0.5, 5, 0.5]);
      });
    }
    expect(shadowed.length).toBeGreaterThan(5);
  });

  it("a call after the end still counts, and is told", async () => {
    const { missions, policy } = bench();
    const late: unknown[] = [];
    policy.on("mission-late-call", (event) => void late.push(event));
    let detached: Promise<unknown> | undefined;
    let go!: () => void;
    const gate = new Promise<void>((resolve) => (go = resolve));
    await missions.run(optionsOf({ missionId: "m" }), () => {
      detached = gate.then(() => call(policy));
    });
    go();
    await detached;
    expect((await missions.get("m"))!.spent).toBe(0.1);
    expect(late).toMatchObject([{ missionId: "m", costUsd: 0.1 }]);
  });
});

describe("a $1 mission with 100 parallel $0.10 calls", () => {
  it("sends ten", async () => {
    const { missions, policy } = bench();
    let sent = 0;
    const outcomes = await missions.run(optionsOf({ missionId: "m" }), () =>
      Promise.allSettled(
        Array.from({ length: 100 }, () =>
          policy.run({ operation: "x", costUsd: 0.1 }, async () => {
            sent++;
            await settleDown();
          }),
        ),
      ),
    );
    expect(sent).toBe(10);
    const refused = outcomes.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
    expect(refused).toHaveLength(90);
    for (const { reason } of refused) {
      const error = MissionBudgetExceededError.find(reason)!;
      expect(error).toMatchObject({ missionId: "m", spentUsd: 1, budgetUsd: 1, callCount: 10, action: "kill" });
    }
    expect((await missions.get("m"))!.status).toBe("killed");
  });
});

describe("kill", () => {
  it("refuses every later call, whatever it costs, and aborts the signal at the first one", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf({ missionId: "m", budgetUsd: 0.3 }), async (m) => {
      for (let i = 0; i < 3; i++) await call(policy);
      expect([m.status, m.signal.aborted]).toEqual(["killed", false]);
      const refusal = await refusalOf(policy.authorize({ operation: "free", costUsd: 0 }));
      expect(refusal).toMatchObject({ ruleName: "MissionBudget:m", action: "kill", spentUsd: 0.3, callCount: 3 });
      expect(m.signal.aborted).toBe(true);
      expect(m.signal.reason).toBe(refusal);
      expect(m.events).toMatchObject([{ action: "kill", spentUsd: 0.3, budgetUsd: 0.3, callCount: 3, missionId: "m" }]);
    });
    expect((await missions.get("m"))!.status).toBe("killed");
  });

  it("lets a call too large alone be refused: the mission goes on", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf(), async (m) => {
      await call(policy);
      const refusal = await refusalOf(policy.authorize({ operation: "large", costUsd: 2 }));
      expect(refusal.action).toBe("block");
      expect(m.status).toBe("running");
      await call(policy);
    });
  });

  it("comes when a call does not fit and what remains is less than a call costs on average", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf({ budgetUsd: 0.25 }), async (m) => {
      const { sent, refusal } = await callUntilRefused(policy);
      expect([sent, refusal!.action, m.status]).toEqual([2, "kill", "killed"]);
    });
  });

  it("from outside stops a running mission at its next call, for good", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf({ missionId: "m" }), async (m) => {
      await call(policy);
      await missions.kill("m", { by: "ops", reason: "wrong prompt" });
      const refusal = await refusalOf(call(policy));
      expect(refusal.message).toMatch(/killed: wrong prompt/);
      expect(m.events.at(-1)).toMatchObject({ action: "kill", by: "ops", reason: "wrong prompt", spentUsd: 0.1 });
      await expect(missions.raise("m", { addUsd: 1, by: "eve", approvalId: "1" })).rejects.toThrow(/killed/);
    });
    await missions.attach("m", async () => {
      expect((await refusalOf(call(policy))).action).toBe("kill");
    });
  });
});

describe("a mission of another ledger", () => {
  it("is told from one of the same id, and its money from that one's", async () => {
    const [here, there] = [bench(), bench()];
    const other = await there.missions.start(optionsOf({ missionId: "m", budgetUsd: 100 }));
    await there.missions.raise("m", { addUsd: 1, by: "ada", approvalId: "a" });
    await here.missions.run(optionsOf({ missionId: "m", budgetUsd: 0.1 }), async (m) => {
      await expect(call(there.policy)).rejects.toThrow(/covers calls of one store/);
      expect([m.budget, other.spent]).toEqual([0.1, 0]);
      await call(here.policy);
      expect(m.spent).toBe(0.1);
    });
  });

  it("refuses calls of a policy it cannot count, rather than letting them pass", async () => {
    const one = bench();
    const other = bench();
    await one.missions.run(optionsOf(), async () => {
      await expect(call(other.policy)).rejects.toThrow(/not in this policy's ledger/);
    });
    await withAmbient({}, () => call(other.policy));
  });
});
