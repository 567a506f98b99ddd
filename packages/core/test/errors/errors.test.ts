import { describe, expect, it } from "vitest";
import * as core from "../../src/index.js";

const decision = { allow: false, action: "block", metadata: { spentUsd: 1, maxUsd: 1 } } as const;
const samples = {
  ConfigError: new core.ConfigError({ field: "x", value: 1, problem: "must be 2" }),
  PolicyViolationError: new core.PolicyViolationError({ ruleName: "r", decision }),
  CircuitOpenError: new core.CircuitOpenError({ ruleName: "r", decision }),
  UnknownModelError: new core.UnknownModelError("m", undefined),
  StoreError: new core.StoreError("reserve", "hung"),
  StateLostError: new core.StateLostError("reserve", "driftlock"),
  UsageError: new core.UsageError({ field: "x", value: 1, problem: "is odd" }),
  DuplicateCallError: new core.DuplicateCallError("a"),
  AccountLimitError: new core.AccountLimitError(3),
};
const parents: Record<string, string[]> = {
  CircuitOpenError: ["PolicyViolationError"],
  UnknownModelError: ["PolicyViolationError"],
  StateLostError: ["StoreError"],
};
const classes = Object.entries(samples).map(
  ([name]) => [name, core[name as keyof typeof samples] as typeof core.ConfigError] as const,
);

describe("every error", () => {
  it("is in this table", () => {
    const exported = Object.keys(core).filter((name) => name.endsWith("Error") && name !== "DriftlockError");
    expect(Object.keys(samples).sort()).toEqual(exported.sort());
  });

  it.each(Object.entries(samples))("%s is an Error with its name, a code of its own and a message", (name, error) => {
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe(name);
    expect(error.message.length).toBeGreaterThan(10);
    expect(Object.values(samples).filter(({ code }) => code === error.code)).toHaveLength(1);
    expect(String(error)).toContain(name);
    expect(error.stack).toContain("errors.test");
  });

  it.each(classes)("%s.isInstance knows its own and what extends it, and nothing else", (name, Class) => {
    for (const [other, error] of Object.entries(samples)) {
      expect(Class.isInstance(error)).toBe(other === name || (parents[other] ?? []).includes(name));
      expect(core.DriftlockError.isInstance(error)).toBe(true);
    }
    for (const value of [undefined, null, 7, "x", {}, new Error("x"), { name, code: "X" }])
      expect(Class.isInstance(value)).toBe(false);
    expect(Class.isInstance(new Error("x", { cause: samples.ConfigError }))).toBe(false);
  });
});

describe("isInstance", () => {
  it("knows errors of another copy of the package by their brand", () => {
    const brand = Symbol.for("driftlock.error");
    const foreign = Object.defineProperty(new Error("x"), brand, {
      value: ["CircuitOpenError", "PolicyViolationError", "DriftlockError"],
    });
    expect(core.PolicyViolationError.isInstance(foreign)).toBe(true);
    expect(core.CircuitOpenError.isInstance(foreign)).toBe(true);
    expect(core.StoreError.isInstance(foreign)).toBe(false);
  });
});

describe("find", () => {
  const violation = samples.CircuitOpenError;
  it.each([
    ["the error itself", violation],
    ["a cause", new Error("x", { cause: violation })],
    ["a cause of a cause", new Error("x", { cause: new Error("y", { cause: violation }) })],
    ["one of several", new AggregateError([new Error("x"), violation])],
    ["a tool's error", { toolError: violation }],
    ["an error's error", { error: { error: violation } }],
    ["all of it at once", { error: new AggregateError([{ toolError: new Error("x", { cause: violation }) }]) }],
  ])("walks %s", (_what, error) => {
    expect(core.PolicyViolationError.find(error)).toBe(violation);
    expect(core.StoreError.find(error)).toBeUndefined();
  });

  it("finds the outermost one, of the class that is asked for", () => {
    const outer = new core.PolicyViolationError({ ruleName: "outer", decision, cause: violation });
    expect(core.PolicyViolationError.find(new Error("x", { cause: outer }))).toBe(outer);
    expect(core.CircuitOpenError.find(new Error("x", { cause: outer }))).toBe(violation);
  });

  it("looks at so many values and no more: a body may be a stranger's", () => {
    const errors = Array.from({ length: 300_000 }, () => ({}));
    const began = performance.now();
    expect(core.DriftlockError.find({ error: { errors } })).toBeUndefined();
    expect(performance.now() - began).toBeLessThan(2_000);
  });

  it("ends in circles, and finds nothing in nothing", () => {
    const circle: { cause?: unknown; errors?: unknown[] } = {};
    circle.cause = { error: circle };
    circle.errors = [circle, null, undefined, 7];
    for (const nothing of [circle, undefined, null, 7, "x", () => 1])
      expect(core.DriftlockError.find(nothing)).toBeUndefined();
  });
});

describe("a PolicyViolationError", () => {
  it("has status 402, so that hosts do not retry it, and an httpStatus of its own", () => {
    expect(samples.PolicyViolationError).toMatchObject({ status: 402, httpStatus: 402 });
    expect(new core.PolicyViolationError({ ruleName: "r", decision, retryAfterMs: 1_500 })).toMatchObject({
      status: 402,
      httpStatus: 429,
      retryAfterMs: 1_500,
    });
    expect(samples.PolicyViolationError.retryAfterMs).toBeUndefined();
  });

  it("says which rule, by how much and when it resets", () => {
    const metadata = {
      spentUsd: 0.1 + 0.2,
      heldUsd: 0,
      maxUsd: 0.3,
      scope: "workspace",
      resetsAt: "2026-04-01T00:00:00.000Z",
      nothing: undefined,
    };
    const { message } = new core.PolicyViolationError({
      ruleName: "MonthlyBudgetRule",
      decision: { ...decision, metadata },
      retryAfterMs: 61_001,
    });
    expect(message).toBe(
      "Blocked by MonthlyBudgetRule: spentUsd 0.3, heldUsd 0, maxUsd 0.3, scope workspace, resetsAt 2026-04-01T00:00:00.000Z. Room again in 62 s.",
    );
  });

  it("says so with odd metadata too", () => {
    const metadata = { symbol: Symbol("x"), big: 1n, nan: Number.NaN, nested: { a: 1 }, none: null, fn: () => 1 };
    expect(() => new core.PolicyViolationError({ ruleName: "r", decision: { ...decision, metadata } })).not.toThrow();
  });
});

describe("a message", () => {
  it("shows a wrong value short and on one line, and never its contents when it is an object", () => {
    const shown = (value: unknown) => new core.ConfigError({ field: "f", value, problem: "is wrong" }).message;
    expect(shown("x".repeat(10_000)).length).toBeLessThan(100);
    expect(shown("a\nb")).not.toContain("\n");
    expect(shown({ apiKey: "sk-secret" })).toBe("f: is wrong; got an object");
    expect(shown([1])).toBe("f: is wrong; got an array");
    expect(shown(Number.NaN)).toBe("f: is wrong; got NaN");
    expect(shown(10n)).toBe("f: is wrong; got 10");
    expect(shown(Symbol("x"))).toBe("f: is wrong; got Symbol(x)");
    expect(shown(undefined)).toBe("f: is wrong; got undefined");
  });

  it("of an unknown model is not as long as its name", () => {
    expect(new core.UnknownModelError("m".repeat(5_000), "p").message.length).toBeLessThan(700);
  });
});
