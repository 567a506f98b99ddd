import { describe, expect, it } from "vitest";
import { ConfigError, MemoryLedger, TagBasedModelDowngradeRule } from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";
import { MissionBudgetExceededError, type CallbackAnswer, type Mission } from "../src/index.js";
import { bench, call, callUntilRefused, optionsOf, refusalOf, settleDown } from "./kit.js";

/** A ledger with somebody between it and those who ask. */
function interposed(
  ledger: MemoryLedger,
  between: (operation: string, answer: () => unknown) => unknown,
): MemoryLedger {
  return new Proxy(ledger, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== "function") return value;
      return (...given: readonly unknown[]) =>
        between(String(key), () => Reflect.apply(value, target, given) as unknown);
    },
  });
}

describe("downgrade", () => {
  const degrading = (more = {}) => optionsOf({ onExceed: "downgrade", downgradeTo: "c3", ...more });

  it("swaps the model of all later calls when the forecast's low end passes the budget", async () => {
    const { missions, policy } = bench();
    await missions.run(degrading({ expectedCalls: 20 }), async (m) => {
      expect([await call(policy), await call(policy), await call(policy)]).toEqual(["c10", "c10", "c10"]);
      expect(m.status).toBe("degraded");
      expect(await call(policy)).toBe("c3");
      expect(m.events).toMatchObject(
        [{ action: "downgrade", downgradeTo: "c3", callCount: 3, projectedFinalCostUsd: 2, reason: /projected/ }].map(
          (event) => ({ ...event, reason: expect.stringMatching(event.reason) as unknown }),
        ),
      );
    });
  });

  it("leaves the hard stop armed: a degraded mission never passes its budget", async () => {
    const { missions, policy } = bench();
    await missions.run(degrading({ missionId: "m", expectedCalls: 20 }), async (m) => {
      const { sent, refusal } = await callUntilRefused(policy);
      // Three at $0.10, then $0.70 at $0.03.
      expect(sent).toBe(3 + 23);
      expect(refusal).toMatchObject({ action: "block", spentUsd: 0.99 });
      expect(m.spent).toBe(0.99);
      expect(m.status).toBe("degraded");
      for (let i = 0; i < 20; i++) await refusalOf(call(policy));
      expect(m.spent).toBe(0.99);
    });
    expect((await missions.get("m"))!.status).toBe("degraded");
  });

  it("answers the call that does not fit: it goes with the cheaper model", async () => {
    const { missions, policy } = bench();
    await missions.run(degrading({ budgetUsd: 0.25 }), async () => {
      expect([await call(policy), await call(policy), await call(policy)]).toEqual(["c10", "c10", "c3"]);
    });
  });

  it("goes down a ladder rung by rung", async () => {
    const { missions, policy } = bench();
    await missions.run(degrading({ budgetUsd: 0.39, downgradeTo: ["c5", "c1"] }), async (m) => {
      const sent: string[] = [];
      for (let i = 0; i < 12; i++) sent.push(await call(policy).catch(() => "-"));
      expect(sent.join(" ")).toBe("c10 c10 c10 c5 c1 c1 c1 c1 - - - -");
      expect(m.events.map(({ downgradeTo }) => downgradeTo)).toEqual(["c5", "c1"]);
    });
  });

  it("is not undone by a policy's downgrade", async () => {
    const rule = new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "c10" });
    const { missions, policy } = bench({ rules: [rule] });
    await missions.run(degrading({ budgetUsd: 0.25 }), async () => {
      expect([await call(policy, "c20"), await call(policy, "c20"), await call(policy, "c20")]).toEqual([
        "c10",
        "c10",
        "c3",
      ]);
    });
  });
});

describe("pause", () => {
  const pausing = (more = {}) => optionsOf({ missionId: "m", budgetUsd: 0.2, onExceed: "pause", ...more });
  const raise = { addUsd: 0.1, by: "ada", approvalId: "a1", reason: "worth it" };

  it("refuses with an error that a raise makes good, and keeps everything", async () => {
    const { missions, policy } = bench();
    const refusal = await refusalOf(
      missions.run(pausing(), async () => {
        for (;;) await call(policy);
      }),
    );
    expect(refusal).toMatchObject({ action: "pause", missionId: "m", spentUsd: 0.2 });
    expect((await missions.get("m"))!.status).toBe("paused");
    await missions.raise("m", raise);
    await missions.attach("m", async (m) => {
      expect([m.status, m.budget, m.spent]).toEqual(["running", 0.3, 0.2]);
      expect((await callUntilRefused(policy)).sent).toBe(1);
      expect(m.status).toBe("paused");
    });
    const { interventions } = await missions.stats("m");
    expect(interventions.map(({ action, by, reason }) => [action, by, reason])).toEqual([
      ["pause", undefined, "$0.2 of $0.2 spent"],
      ["raise", "ada", "worth it"],
      ["pause", undefined, "$0.3 of $0.3 spent"],
    ]);
  });

  it("with `wait` lets the run stop in place until the raise comes", async () => {
    const { missions, policy, clock } = bench();
    const done: number[] = [];
    const run = missions.run(pausing({ onPause: "wait" }), async () => {
      for (let i = 0; i < 3; i++) {
        await call(policy);
        done.push(i);
      }
      return "finished";
    });
    await settleDown();
    clock.advance(3_600_000);
    await settleDown();
    expect(done).toEqual([0, 1]);
    await missions.raise("m", raise);
    expect(await run).toBe("finished");
    expect((await missions.get("m"))!.status).toBe("paused");
  });

  it("a waiting call ends when it is aborted, killed or the policy is closed", async () => {
    for (const end of ["abort", "kill", "close"] as const) {
      const { missions, policy, clock } = bench();
      const controller = new AbortController();
      const waiting = missions.run(pausing({ onPause: "wait" }), async () => {
        for (let i = 0; i < 3; i++) await call(policy, "c10", { signal: controller.signal });
      });
      const failed = expect(waiting).rejects.toThrow(
        end === "abort" ? /aborted/ : end === "kill" ? /killed/ : /closed/,
      );
      await settleDown();
      if (end === "abort") controller.abort();
      else if (end === "kill") await missions.kill("m", { by: "ops", reason: "no" });
      else void policy.close();
      clock.advance(1_000);
      await settleDown();
      clock.advance(1_000);
      await failed;
    }
  });

  it("refuses, and counts what is only counted, also when the store cannot say whether it was raised", async () => {
    for (const mode of ["enforce", "shadow"] as const) {
      const clock = new ManualClock();
      let isDown = false;
      const memory = new MemoryLedger({ clock });
      const store = interposed(memory, (operation, answer) => {
        if (isDown && operation === "amend") throw new Error("down");
        return answer();
      });
      const { missions, policy } = bench({ store, clock, mode });
      const m = await missions.start(pausing());
      await m.within(async () => {
        await call(policy);
        await call(policy);
        expect(m.status).toBe("paused");
        isDown = true;
        await policy.record({ id: "tool", costUsd: 0.05 });
        if (mode === "shadow") await call(policy);
        else expect((await refusalOf(call(policy))).action).toBe("pause");
        isDown = false;
      });
      expect(m.spent).toBe(mode === "shadow" ? 0.35 : 0.25);
    }
  });

  it("goes on in the same handle after a raise, and ends with it", async () => {
    const { missions, policy } = bench();
    const m = await missions.start(pausing());
    await m.within(() => callUntilRefused(policy));
    await m.end();
    expect(m.status).toBe("paused");
    await missions.raise("m", { ...raise, addUsd: 0.2 });
    await m.within(() => call(policy));
    await m.end();
    expect(m.status).toBe("completed");
  });

  it("counts an approval once, also in parallel, and never raises beyond maxRaiseUsd", async () => {
    const { missions } = bench();
    const m = await missions.start(pausing({ maxRaiseUsd: 0.25 }));
    await Promise.all(Array.from({ length: 5 }, () => missions.raise("m", raise)));
    await missions.raise("m", raise);
    expect(m.budget).toBe(0.3);
    await missions.raise("m", { ...raise, approvalId: "a2" });
    expect(m.budget).toBe(0.4);
    await expect(missions.raise("m", { ...raise, approvalId: "a3" })).rejects.toThrow(/maxRaiseUsd of 0.25/);
    await missions.raise("m", { ...raise, approvalId: "a4", addUsd: 0.05 });
    expect(m.budget).toBe(0.45);
    expect(m.events.map(({ approvalId }) => approvalId)).toEqual(["a1", "a2", "a4"]);
    await m.end();
  });

  it("bounds the raises of each mission by itself, whatever ids missions, approvals and calls have", async () => {
    const { missions, policy } = bench();
    await missions.start(pausing({ missionId: "a", maxRaiseUsd: 5 }));
    const m = await missions.start(pausing({ missionId: "a b", maxRaiseUsd: 0.5 }));
    await missions.raise("a", { addUsd: 5, by: "ada", approvalId: "b c" });
    await call(policy, "c1", { id: "raise a b d" });
    for (const approvalId of ["c", "d"])
      await expect(missions.raise("a b", { addUsd: 5, by: "ada", approvalId })).rejects.toThrow(/maxRaiseUsd/);
    expect(m.budget).toBe(0.2);
  });

  it("bounds the raises also where two processes are told one approval at once", async () => {
    const ledger = new MemoryLedger();
    let open!: () => void;
    const gate = new Promise<void>((resolve) => (open = resolve));
    // The first process hears late that it has claimed.
    const late = interposed(ledger, (operation, answer) => {
      const answered = answer();
      return operation === "reserve" ? gate.then(() => answered) : answered;
    });
    const [first, second] = [bench({ store: late }), bench({ store: ledger })];
    const m = await second.missions.start(pausing({ maxRaiseUsd: 0.1 }));
    const raising = first.missions.raise("m", raise);
    await settleDown();
    await second.missions.raise("m", raise);
    open();
    await raising;
    expect(m.budget).toBe(0.3);
    await expect(second.missions.raise("m", { ...raise, approvalId: "a2" })).rejects.toThrow(/maxRaiseUsd of 0.1/);
    await m.end();
  });

  it("takes no budget beyond what a budget may be: money stays exact", async () => {
    const { missions } = bench();
    const m = await missions.start(pausing({ budgetUsd: 8_999_999 }));
    await missions.raise("m", { ...raise, addUsd: 1 });
    await expect(missions.raise("m", { ...raise, addUsd: 1, approvalId: "a2" })).rejects.toThrow(/9000000/);
    expect(m.budget).toBe(9_000_000);
  });
});

describe("wrapUp", () => {
  const wrapping = (more = {}) =>
    optionsOf({
      missionId: "m",
      budgetUsd: 0.5,
      onExceed: "wrapUp",
      wrapUp: { reserveUsd: 0.2 },
      interveneOn: "breach",
      ...more,
    });
  const tools = [{ type: "function", function: { name: "search" } }];

  it("keeps its money for one last call without tools, also with parallel branches", async () => {
    const { missions, policy } = bench();
    await missions.run(wrapping(), async (m) => {
      const branches = await Promise.allSettled(
        Array.from({ length: 10 }, () => call(policy, "c10", { tools, inputTokens: 0 })),
      );
      expect(branches.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
      const refusal = branches
        .map((b) => (b.status === "rejected" ? MissionBudgetExceededError.find(b.reason) : undefined))
        .find(Boolean)!;
      expect(refusal.action).toBe("wrapUp");
      expect([m.spent, m.remaining, m.budget, m.wrappingUp]).toEqual([0.3, 0.2, 0.5, true]);
      const last = await Promise.allSettled(Array.from({ length: 5 }, () => call(policy, "c20")));
      expect(last.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      expect(m.spent).toBe(0.5);
      const after = await refusalOf(policy.authorize({ operation: "free", costUsd: 0 }));
      expect(after.message).toMatch(/last call was made/);
      expect(m.wrappingUp).toBe(false);
    });
    expect((await missions.get("m"))!.status).toBe("completed");
  });

  it("is not used up by spend that is only recorded: the last call still goes", async () => {
    const { missions, policy } = bench();
    await missions.run(wrapping(), async (m) => {
      await callUntilRefused(policy, "c10", 3);
      await policy.record({ id: "tool", costUsd: 0.05 });
      expect([m.spent, m.wrappingUp]).toEqual([0.35, true]);
      await call(policy, "c10");
      expect(m.wrappingUp).toBe(false);
    });
  });

  it("gives the last call another try when it was never sent", async () => {
    const { missions, policy } = bench();
    await missions.run(wrapping(), async () => {
      await callUntilRefused(policy, "c10", 3);
      const auth = await policy.authorize({ operation: "sum up", costUsd: 0.2 });
      await auth.release();
      await call(policy, "c20");
      await refusalOf(call(policy, "c1"));
    });
  });
});

describe("callback", () => {
  const asking = (callback: (m: Mission) => unknown, more = {}) =>
    optionsOf({
      missionId: "m",
      budgetUsd: 0.3,
      onExceed: "callback",
      callback: callback as never,
      interveneOn: "breach",
      ...more,
    });

  it("decides: each answer does what it says", async () => {
    const expected = { continue: "running", kill: "killed", pause: "paused", downgrade: "degraded" } as const;
    for (const answer of Object.keys(expected) as CallbackAnswer[]) {
      for (const late of [false, true]) {
        const { missions, policy } = bench();
        let asked = 0;
        const callback = () => {
          asked++;
          return late ? settleDown().then(() => answer) : answer;
        };
        await missions.run(asking(callback, { downgradeTo: "c1" }), async (m) => {
          const { sent } = await callUntilRefused(policy, "c10", 5);
          // A degraded mission that breaks its budget once more has one more question.
          expect([answer, sent, m.status, asked]).toEqual([
            answer,
            3,
            expected[answer],
            answer === "downgrade" ? 2 : 1,
          ]);
        });
      }
    }
  });

  it("is asked one question at a time, and calls wait for its answer", async () => {
    const { missions, policy } = bench();
    let open = 0;
    let most = 0;
    const callback = async () => {
      most = Math.max(most, ++open);
      await settleDown();
      open--;
      return "continue";
    };
    await missions.run(asking(callback, { interveneOn: "expected", budgetUsd: 0.5 }), async (m) => {
      await Promise.allSettled(Array.from({ length: 30 }, () => call(policy)));
      expect(most).toBe(1);
      expect(m.spent).toBeLessThanOrEqual(0.5);
    });
  });

  it("may itself make governed calls, which count and ask nobody", async () => {
    const { missions, policy } = bench();
    let asked = 0;
    const callback = async () => {
      asked++;
      await call(policy, "c1");
      await call(policy, "c1");
      return "continue";
    };
    await missions.run(asking(callback, { interveneOn: "expected", expectedCalls: 20 }), async (m) => {
      const { sent } = await callUntilRefused(policy, "c5");
      expect([sent, m.spent]).toEqual([5, 0.29]);
    });
    expect(asked).toBe(2);
  });

  it("of nested missions may all make governed calls: none waits for the other's answer", async () => {
    const { missions, policy } = bench();
    const answers: string[] = [];
    const nested = (missionId: string) =>
      asking(
        async (m) => {
          await settleDown();
          await call(policy, "c1");
          answers.push(m.id);
          return "continue";
        },
        { missionId, interveneOn: "expected", expectedCalls: 100 },
      );
    await missions.run(nested("parent"), () =>
      missions.run(nested("child"), async (m) => {
        for (let i = 0; i < 4; i++) await call(policy, "c1");
        expect(answers.sort()).toEqual(["child", "parent"]);
        expect(m.status).toBe("running");
        expect(m.spent).toBe(0.06);
      }),
    );
  });

  it("does not keep spend from being counted while it is asked", async () => {
    for (const mode of ["enforce", "shadow"] as const) {
      const { missions, policy } = bench({ mode });
      let answer!: (answer: CallbackAnswer) => void;
      const asked = new Promise<CallbackAnswer>((resolve) => (answer = resolve));
      await missions.run(
        asking(() => asked, { budgetUsd: 0.2, interveneOn: "breach" }),
        async (m) => {
          await call(policy);
          await call(policy);
          await policy.record({ id: "tool", costUsd: 0.05 });
          if (mode === "shadow") await call(policy);
          expect(m.spent).toBe(mode === "shadow" ? 0.35 : 0.25);
          answer("continue");
          await settleDown();
        },
      );
    }
  });

  it("is asked again, and not for ever, when another process's answer took the place of its own", async () => {
    const { missions, policy } = bench();
    let asked = 0;
    await missions.run(
      asking(() => (++asked > 5 ? "kill" : "continue"), { budgetUsd: 0.2, interveneOn: "breach" }),
      async (m) => {
        expect((await callUntilRefused(policy)).refusal!.action).toBe("block");
        const { account } = policy.extension.meter({
          scope: { label: "mission_id", value: m.id },
          measure: "usd",
          window: { kind: "lifetime" },
          limit: "stored",
        });
        await policy.extension.ledger.amend(account, { notes: { continued: "forecast 200000000" } });
        await m.refresh();
        expect((await refusalOf(call(policy))).action).toBe("block");
        expect([asked, m.status]).toEqual([2, "running"]);
      },
    );
  });

  it("that throws, is slow or answers nonsense pauses the mission: nothing breaks, nothing passes", async () => {
    const never = new Promise(() => undefined);
    const broken = [
      () => "KILL",
      () => undefined,
      () => ({ toString: () => "continue" }),
      () => Promise.reject(new Error("no")),
      () => never,
      () => {
        throw new Error("no");
      },
    ];
    for (const callback of broken) {
      const { missions, policy, clock } = bench();
      await missions.run(asking(callback, { callbackTimeoutMs: 1_000 }), async (m) => {
        const going = callUntilRefused(policy);
        await settleDown();
        clock.advance(1_000);
        const { sent, refusal } = await going;
        expect([sent, refusal!.action, m.status, m.spent]).toEqual([3, "pause", "paused", 0.3]);
      });
    }
  });
});

describe("the warning", () => {
  it("is told once per mission, at its threshold, and cannot harm", async () => {
    const { missions, policy } = bench({ onListenerError: () => undefined });
    const told: number[] = [];
    const onWarning = (m: Mission) => {
      told.push(m.spent);
      throw new Error("mine");
    };
    await missions.run(optionsOf({ missionId: "m", onWarning, warningThreshold: 0.5 }), async () => {
      for (let i = 0; i < 8; i++) await call(policy);
    });
    await missions.attach("m", () => call(policy), { onWarning });
    expect(told).toEqual([0.5]);
  });
});

describe("other limits", () => {
  it("of calls, tokens and time end a mission that kills, and only refuse in others", async () => {
    for (const [limit, sentAtMost] of [
      [{ maxCalls: 2 }, 2],
      [{ maxTokens: 2_500 }, 2],
      [{ maxDurationMs: 3_000 }, 3],
    ] as const) {
      for (const onExceed of ["kill", "pause"] as const) {
        const { missions, policy, clock } = bench();
        policy.on("call-settled", () => clock.advance(1_000));
        await missions.run(optionsOf({ onExceed, ...limit }), async (m) => {
          const { sent, refusal } = await callUntilRefused(policy);
          expect([Object.keys(limit)[0], sent]).toEqual([Object.keys(limit)[0], sentAtMost]);
          const isUsedUp = !("maxTokens" in limit);
          expect(refusal!.action).toBe(onExceed === "kill" && isUsedUp ? "kill" : "block");
          expect(m.status).toBe(onExceed === "kill" && isUsedUp ? "killed" : "running");
        });
      }
    }
  });
});

describe("options", () => {
  it("that cannot be used are refused by name", async () => {
    const { missions } = bench();
    const bad: readonly [string, object][] = [
      ["name", { name: "" }],
      ["budgetUsd", { budgetUsd: Number.NaN }],
      ["budgetUsd", { budgetUsd: -1 }],
      ["budgetUsd", { budgetUsd: undefined }],
      ["downgradeTo", { onExceed: "downgrade" }],
      ["downgradeTo", { onExceed: "downgrade", downgradeTo: [] }],
      ["downgradeTo", { downgradeTo: [7] }],
      ["callback", { onExceed: "callback" }],
      ["callback", { callback: "kill" }],
      ["onExceed", { onExceed: "explode" }],
      ["interveneOn", { interveneOn: "later" }],
      ["onPause", { onPause: true }],
      ["ifExists", { ifExists: "overwrite" }],
      ["onWarning", { onWarning: 1 }],
      ["warningThreshold", { warningThreshold: 80 }],
      ["expectedCalls", { expectedCalls: 0 }],
      ["maxCalls", { maxCalls: 1.5 }],
      ["maxTokens", { maxTokens: Infinity }],
      ["maxDurationMs", { maxDurationMs: "1m" }],
      ["maxRaiseUsd", { maxRaiseUsd: -1 }],
      ["wrapUp", { onExceed: "wrapUp" }],
      ["wrapUp.reserveUsd", { onExceed: "wrapUp", wrapUp: { reserveUsd: 2 } }],
      ["slice", { slice: { usd: 0.5 } }],
      ["slice.usd", { slice: { usd: 2 } }],
      ["missionId", { missionId: "" }],
      ["callbackTimeoutMs", { callbackTimeoutMs: 0 }],
      // No timer runs so long: it would ring at once.
      ["callbackTimeoutMs", { callbackTimeoutMs: 2 ** 31 }],
      ["budget", { budget: 5 }],
    ];
    for (const [field, more] of bad) {
      const failure = await missions.start({ ...optionsOf(), ...more } as never).catch((error: unknown) => error);
      expect(ConfigError.isInstance(failure), `${field}: ${String(failure)}`).toBe(true);
      expect((failure as ConfigError).field).toBe(field);
    }
    await expect(missions.start({ ...optionsOf(), labels: { a: 1 } } as never)).rejects.toThrow(/labels.a/);
  });

  it("labels that are too many with those of the mission are refused before it begins", async () => {
    const { missions } = bench();
    const labels = (prefix: string, most: number) =>
      Object.fromEntries(Array.from({ length: most }, (_, i) => [`${prefix}${i}`, "x"]));
    await expect(missions.start(optionsOf({ labels: labels("a", 32) }))).rejects.toThrow(/32 labels/);
    await missions.run(optionsOf({ missionId: "parent", labels: labels("a", 20) }), () =>
      expect(missions.start(optionsOf({ labels: labels("b", 20) }))).rejects.toThrow(/32 labels/),
    );
    expect((await missions.list()).map(({ id }) => id)).toEqual(["parent"]);
  });

  it("of the other calls are checked as well", async () => {
    const { missions } = bench();
    await missions.start(optionsOf({ missionId: "m" }));
    await expect(missions.list({ status: "done" } as never)).rejects.toThrow(/list.status/);
    await expect(missions.attach("m", () => 0, { ends: true } as never)).rejects.toThrow(/attach.ends/);
  });

  it("given as undefined are not given: no guard is disarmed by them", async () => {
    const { missions, policy } = bench();
    const undefineds = {
      onExceed: undefined,
      interveneOn: undefined,
      maxCalls: undefined,
      warningThreshold: undefined,
    };
    await missions.run(optionsOf(undefineds), async (m) => {
      expect((await callUntilRefused(policy)).sent).toBe(10);
      expect(m.status).toBe("killed");
    });
  });
});
