import { describe, expect, it } from "vitest";
import { currentAmbient, MemoryLedger } from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";
import { bench, call, callUntilRefused, optionsOf, refusalOf, settleDown } from "./kit.js";

describe("nested missions", () => {
  it("count every call in the innermost and in all around it", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf({ missionId: "o" }), async (o) => {
      await call(policy);
      await missions.run(optionsOf({ missionId: "i" }), async (i) => {
        await call(policy);
        await call(policy);
        expect([i.callCount, i.spent, i.nestedSpend, i.directSpend]).toEqual([2, 0.2, 0, 0.2]);
      });
      await call(policy);
      expect([o.callCount, o.spent, o.nestedSpend, o.directSpend]).toEqual([4, 0.4, 0.2, 0.2]);
    });
  });

  it("an exhausted child does not stop its parent; an exhausted parent stops all", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf({ missionId: "o", budgetUsd: 0.5 }), async (o) => {
      await missions.run(optionsOf({ missionId: "i", budgetUsd: 0.2 }), async (i) => {
        const { sent, refusal } = await callUntilRefused(policy);
        expect([sent, refusal!.missionId, i.status, o.status]).toEqual([2, "i", "killed", "running"]);
      });
      await missions.run(optionsOf({ missionId: "j", budgetUsd: 10 }), async (j) => {
        const { sent, refusal } = await callUntilRefused(policy);
        expect([sent, refusal!.missionId, j.status, o.status]).toEqual([3, "o", "running", "killed"]);
        expect(j.signal.aborted).toBe(true);
      });
    });
    expect((await missions.get("j"))!.status).toBe("completed");
  });

  it("five parallel children under a $1 root spend $1.00 in total", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf({ missionId: "root" }), async (root) => {
      const child = (i: number) =>
        missions.run(optionsOf({ missionId: `c${i}`, budgetUsd: 1 }), () => callUntilRefused(policy, "c10", 20));
      const all = await Promise.all([0, 1, 2, 3, 4].map(child));
      expect(all.reduce((sum, { sent }) => sum + sent, 0)).toBe(10);
      expect([root.spent, root.nestedSpend, root.directSpend]).toEqual([1, 1, 0]);
    });
  });

  it("no child is starved below its slice, however greedy its siblings are", async () => {
    const { missions, policy } = bench({ waitMs: 0 });
    await missions.run(optionsOf({ missionId: "root", onExceed: "pause" }), async (root) => {
      const modest = await missions.start(optionsOf({ missionId: "modest", slice: { usd: 0.3 } }));
      expect([root.held, root.spent]).toEqual([0.3, 0]);
      const greedy = await Promise.all(
        [1, 2, 3, 4].map((i) =>
          missions.run(optionsOf({ missionId: `g${i}` }), () => callUntilRefused(policy, "c10", 20)),
        ),
      );
      expect(greedy.reduce((sum, { sent }) => sum + sent, 0)).toBe(7);
      const { sent } = await modest.within(() => callUntilRefused(policy));
      expect([sent, modest.spent, root.spent, root.held]).toEqual([3, 0.3, 1, 0]);
      await modest.end();
      expect(root.spent).toBe(1);
    });
  });

  it("what a child leaves of its slice goes back to its parent at its end", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf({ missionId: "root" }), async (root) => {
      await missions.run(optionsOf({ slice: { usd: 0.5 } }), () => call(policy));
      expect([root.held, root.spent]).toEqual([0, 0.1]);
      expect((await callUntilRefused(policy)).sent).toBe(9);
    });
  });

  it("a slice of a slice, and one that does not fit", async () => {
    const { missions, policy } = bench();
    await missions.run(optionsOf({ missionId: "root", onExceed: "pause" }), async (root) => {
      await missions.run(optionsOf({ missionId: "a", slice: { usd: 0.6 } }), async () => {
        await missions.run(optionsOf({ missionId: "b", slice: { usd: 0.5 } }), async () => {
          expect(root.held).toBe(0.6);
          await call(policy);
          expect([root.held, root.spent]).toEqual([0.5, 0.1]);
        });
        expect([root.held, root.spent]).toEqual([0.5, 0.1]);
        const refusal = await refusalOf(missions.start(optionsOf({ missionId: "c", slice: { usd: 1 } })));
        expect(refusal.message).toMatch(/no room for a slice of \$1/);
        expect(await missions.get("c")).toBeUndefined();
      });
      expect([root.held, root.spent]).toEqual([0, 0.1]);
    });
  });

  it("keeps a slice while the process lives, and gives it back when it has died", async () => {
    const { missions, policy, clock } = bench({ leaseMs: 60_000 });
    const root = await missions.start(optionsOf({ missionId: "root" }));
    const child = await root.within(() => missions.start(optionsOf({ missionId: "child", slice: { usd: 0.5 } })));
    for (let i = 0; i < 10; i++) {
      clock.advance(30_000);
      await settleDown();
    }
    expect(root.held).toBe(0.5);
    await child.within(() => call(policy));
    expect(root.held).toBe(0.4);
    await child.end();
    expect(root.held).toBe(0);
  });
});

describe("a mission that is ended by a handle that did not begin it", () => {
  it("leaves the missions around it as they are: their slices are kept", async () => {
    const { missions, clock } = bench();
    await missions.run(optionsOf(), (root) =>
      missions.run(optionsOf({ budgetUsd: 0.5, slice: { usd: 0.5 } }), async () => {
        const child = await missions.start(optionsOf({ missionId: "child" }));
        await child.end();
        await (await missions.get("child"))!.end();
        await missions.attach("child", (same) => same.end());
        await missions.attach("child", () => undefined, { end: true });
        await Promise.all([child.end(), child.end()]);
        for (let i = 0; i < 5; i++) {
          clock.advance(30_000);
          await settleDown();
        }
        expect(root.held).toBe(0.5);
      }),
    );
  });
});

describe("a slice whose process has died", () => {
  it("is set aside anew by the process that continues the mission, as far as it is not spent", async () => {
    const clock = new ManualClock();
    const ledger = new MemoryLedger({ clock });
    // The first process stands still: its timers never run.
    const first = bench({ store: ledger });
    const { missions, policy } = bench({ store: ledger, clock });
    const root = await first.missions.start(optionsOf({ missionId: "root" }));
    await root.within(() => first.missions.start(optionsOf({ missionId: "child", slice: { usd: 0.5 } })));
    expect(root.held).toBe(0.5);
    await missions.attach("child", () => call(policy));
    clock.advance(61_000);
    expect([root.held, root.spent]).toEqual([0, 0.1]);
    await missions.attach("child", async (m) => {
      expect([root.held, m.held]).toEqual([0.4, 0]);
      await call(policy);
      expect([root.held, root.spent]).toEqual([0.3, 0.2]);
      await m.end();
      expect(root.held).toBe(0);
    });
  });
});

describe("a mission's block", () => {
  it("counts a mission around once, wherever the handle is used", async () => {
    const { missions, policy } = bench();
    const outer = await missions.start(optionsOf({ missionId: "o" }));
    const inner = await outer.within(() => missions.start(optionsOf({ missionId: "i" })));
    await inner.within(() => call(policy));
    await outer.within(() =>
      inner.within(async () => {
        await call(policy);
        expect(currentAmbient()!.rules.map(({ name }) => name)).toEqual(["MissionBudget:o", "MissionBudget:i"]);
      }),
    );
    await inner.within(() => inner.within(() => call(policy)));
    await (await policy.authorize({ operation: "x", costUsd: 0.1 }, { ambient: inner.ambient })).settle();
    expect([inner.spent, outer.spent, outer.callCount]).toEqual([0.4, 0.4, 4]);
    expect(currentAmbient()).toBeUndefined();
  });

  it("gives the labels of missions around it, the innermost winning", async () => {
    const { missions, policy } = bench();
    const labels: unknown[] = [];
    policy.on("call-settled", (event) => void labels.push({ ...event.labels }));
    const outer = await missions.start(optionsOf({ missionId: "o", labels: { team: "red", job: "all" } }));
    const inner = await outer.within(() => missions.start(optionsOf({ missionId: "i", labels: { job: "part" } })));
    await inner.within(() => call(policy));
    expect(labels).toEqual([{ mission_id: "i", team: "red", job: "part" }]);
  });

  it("does not leak from a generator into its reader, and covers the generator's own calls", async () => {
    const { missions, policy } = bench();
    const streamed = await missions.run(optionsOf({ missionId: "m" }), async function* () {
      for (let i = 0; i < 3; i++) {
        await call(policy);
        yield i;
      }
    });
    const m = (await missions.get("m"))!;
    const seen: number[] = [];
    for await (const i of streamed) {
      seen.push(i);
      await call(policy, "c20");
      expect(currentAmbient()).toBeUndefined();
    }
    expect([seen, m.spent, m.callCount]).toEqual([[0, 1, 2], 0.3, 3]);
    expect((await missions.get("m"))!.status).toBe("completed");
  });

  it("ends with a generator that is broken off, or fails", async () => {
    const { missions, policy } = bench();
    const numbers = async function* () {
      for (let i = 0; ; i++) {
        if (i === 2) throw new Error("mine");
        await call(policy);
        yield i;
      }
    };
    for await (const _ of await missions.run(optionsOf({ missionId: "broken" }), numbers)) break;
    expect((await missions.get("broken"))!.status).toBe("completed");
    const failing = await missions.run(optionsOf({ missionId: "failing" }), numbers);
    await expect(
      (async () => {
        for await (const _ of failing);
      })(),
    ).rejects.toThrow("mine");
    expect((await missions.get("failing"))!.status).toBe("failed");
  });
});
