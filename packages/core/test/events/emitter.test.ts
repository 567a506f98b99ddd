import { describe, expect, it, vi } from "vitest";
import { Emitter } from "../../src/events/emitter.js";

interface Events {
  a: { n: number };
  b: { s: string };
}

function emitter() {
  const errors: [unknown, string][] = [];
  return { events: new Emitter<Events>((error, name) => void errors.push([error, name])), errors };
}

describe("the emitter", () => {
  it("tells every listener of that name, in the order in which they came", () => {
    const { events } = emitter();
    const log: string[] = [];
    events.on("a", ({ n }) => void log.push(`first ${n}`));
    events.on("a", ({ n }) => void log.push(`second ${n}`));
    events.on("b", () => void log.push("other"));
    events.emit("a", () => ({ n: 1 }));
    expect(log).toEqual(["first 1", "second 1"]);
  });

  it("builds an event only when somebody listens", () => {
    const { events } = emitter();
    const build = vi.fn(() => ({ n: 1 }));
    events.emit("a", build);
    const stop = events.on("a", () => undefined);
    events.emit("a", build);
    stop();
    events.emit("a", build);
    expect(build).toHaveBeenCalledTimes(1);
    expect(events.has("a")).toBe(false);
  });

  it("stops telling who stopped, also from inside a listener", () => {
    const { events } = emitter();
    const log: number[] = [];
    const stop = events.on("a", ({ n }) => {
      log.push(n);
      stop();
    });
    events.on("a", ({ n }) => void log.push(-n));
    for (const n of [1, 2]) events.emit("a", () => ({ n }));
    expect(log).toEqual([1, -1, -2]);
  });

  it("reports listeners that throw or reject, and tells the others", async () => {
    const { events, errors } = emitter();
    const log: number[] = [];
    const [thrown, rejected] = [new Error("thrown"), new Error("rejected")];
    events.on("a", () => {
      throw thrown;
    });
    events.on("a", () => Promise.reject(rejected));
    events.on("a", ({ n }) => void log.push(n));
    events.emit("a", () => ({ n: 1 }));
    await Promise.resolve();
    await Promise.resolve();
    expect(log).toEqual([1]);
    expect(errors).toEqual([
      [thrown, "a"],
      [rejected, "a"],
    ]);
  });

  it("survives a reporter that throws", () => {
    const events = new Emitter<Events>(() => {
      throw new Error("reporter");
    });
    events.on("a", () => {
      throw new Error("listener");
    });
    expect(() => events.emit("a", () => ({ n: 1 }))).not.toThrow();
  });
});
