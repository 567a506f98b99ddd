import { describe, expect, it } from "vitest";
import { Life } from "../src/life.js";
import { notes } from "../src/state.js";
import { bench, optionsOf } from "./kit.js";

describe("what a process knows of a mission", () => {
  /** A mission's life, and the state it was made with. */
  async function life() {
    const { missions, policy } = bench();
    await missions.start(optionsOf({ missionId: "m" }));
    const { state } = await policy.ledger.amend("label:mission_id:m", {});
    return { life: new Life("m", policy.extension, state, undefined, true), state };
  }

  it("never goes back: answers that come out of order are told apart", async () => {
    const { life: known, state } = await life();
    const readings = (calls: number, spent: number) => [
      { settled: spent, held: 0 },
      { settled: calls, held: 0 },
      { settled: spent, held: 0 },
    ];
    known.observe(readings(5, 0.5), true);
    known.observe(readings(3, 0.3), true);
    expect([known.readings.calls, known.readings.spent, known.readings.direct]).toEqual([5, 0.5, 0.5]);
    known.take({ ...state, version: 9, notes: { ...state.notes, [notes.killed]: "1" } });
    known.take({ ...state, version: 8 });
    expect([known.state.version, known.state.isKilled]).toEqual([9, true]);
  });

  it("is only of missions: a state that is none's is refused", async () => {
    const { life: known } = await life();
    expect(() => known.take({ version: 99, limitDelta: 0, notes: {} })).toThrow(/not in this policy's ledger/);
  });
});
