import { describe, expect, it } from "vitest";
import { ManualClock } from "../../src/testing/index.js";

describe("ManualClock", () => {
  it("stands until it is moved", () => {
    const clock = new ManualClock(1_000);
    expect([clock.now(), clock.now()]).toEqual([1_000, 1_000]);
    clock.advance(5);
    expect(clock.now()).toBe(1_005);
    clock.advanceTo(2_000);
    expect(clock.now()).toBe(2_000);
    expect(() => clock.advanceTo(1_999)).toThrow(RangeError);
    expect(() => clock.advance(-1)).toThrow(RangeError);
    expect(() => clock.advance(NaN)).toThrow(RangeError);
  });

  it("runs timers in the order of their time, each at its time", () => {
    const clock = new ManualClock(0);
    const ran: string[] = [];
    const log = (name: string) => () => ran.push(`${name} at ${clock.now()}`);
    clock.after(30, log("c"));
    clock.after(10, log("a"));
    clock.after(10, log("b"));
    clock.after(31, log("d"));
    clock.advance(30);
    expect(ran).toEqual(["a at 10", "b at 10", "c at 30"]);
    expect(clock.pending).toBe(1);
  });

  it("runs timers that timers set, and none that was cancelled", () => {
    const clock = new ManualClock(0);
    const ran: number[] = [];
    const again = () => {
      ran.push(clock.now());
      clock.after(10, again);
    };
    clock.after(10, again);
    const cancel = clock.after(15, () => ran.push(-1));
    cancel();
    cancel();
    clock.advance(35);
    expect(ran).toEqual([10, 20, 30]);
  });
});
