import { describe, expect, it } from "vitest";
import { CircuitOpenError } from "../../src/errors/policy-violation-error.js";
import { VelocityLimitRule } from "../../src/policy/rules/velocity-limit.js";
import { bench, costing, pass, refusal, spend } from "../engine/kit.js";

describe("VelocityLimitRule", () => {
  it("blocks when the last window has maxRequests calls, with an open circuit", async () => {
    const { policy } = bench([new VelocityLimitRule({ maxRequests: 2, windowSeconds: 60 })]);
    await spend(policy, 0.1);
    await spend(policy, 0.1);
    const violation = await refusal(policy.authorize(costing(0.1)));
    expect(CircuitOpenError.isInstance(violation)).toBe(true);
    expect(violation).toMatchObject({ code: "CIRCUIT_OPEN", ruleName: "VelocityLimitRule", httpStatus: 429 });
    expect(violation.decision.metadata).toStrictEqual({
      count: 2,
      maxRequests: 2,
      windowSeconds: 60,
      scope: "workspace",
    });
  });

  it("counts a call when it is let through: open, failed and released ones too", async () => {
    const { policy } = bench([new VelocityLimitRule({ maxRequests: 3, windowSeconds: 60 })]);
    await policy.authorize(costing(0.1));
    await (await policy.authorize(costing(0.1))).release();
    await policy
      .run(costing(0.1), () => Promise.reject(Object.assign(new Error("no"), { status: 400 })))
      .catch(() => undefined);
    await refusal(policy.authorize(costing(0.1)));
  });

  it("does not count calls it refused", async () => {
    const { policy, clock } = bench([new VelocityLimitRule({ maxRequests: 1, windowSeconds: 60 })]);
    await spend(policy, 0.1);
    for (let i = 0; i < 5; i++) await refusal(policy.authorize(costing(0.1)));
    const { retryAfterMs } = await refusal(policy.authorize(costing(0.1)));
    clock.advance(retryAfterMs!);
    await spend(policy, 0.1);
  });

  it("never lets more through in any window, and says when there is room again", async () => {
    const { policy, clock } = bench([new VelocityLimitRule({ maxRequests: 5, windowSeconds: 60 })]);
    const passed: number[] = [];
    for (let i = 0; i < 400; i++) {
      await pass(clock, 977, 977);
      const let_through = await policy.authorize(costing(0)).then(
        () => true,
        () => false,
      );
      if (let_through) passed.push(clock.now());
    }
    for (const at of passed)
      expect(passed.filter((other) => other > at - 60_000 && other <= at).length).toBeLessThanOrEqual(5);
    expect(passed.length).toBeGreaterThan(25);
  });

  it("counts each user by itself with scope user, and calls without a user not at all", async () => {
    const { policy } = bench([new VelocityLimitRule({ maxRequests: 1, windowSeconds: 60, scope: "user" })]);
    await spend(policy, 0.1, { user_id: "ada" });
    const { decision } = await refusal(policy.authorize(costing(0.1, { labels: { user_id: "ada" } })));
    expect(decision.metadata).toStrictEqual({ count: 1, maxRequests: 1, windowSeconds: 60, scope: "user" });
    await spend(policy, 0.1, { user_id: "bob" });
    await spend(policy, 0.1);
    await spend(policy, 0.1);
  });

  it("counts free models and operations that cost nothing", async () => {
    const { policy } = bench([new VelocityLimitRule({ maxRequests: 1, windowSeconds: 60 })], {
      prices: { free: ["ollama"] },
    });
    await policy.authorize({ model: "llama3", provider: "ollama", inputTokens: 1 });
    await refusal(policy.authorize({ operation: "search", costUsd: 0 }));
  });

  it("never waits for a window to turn", async () => {
    const { policy, clock } = bench([new VelocityLimitRule({ maxRequests: 1, windowSeconds: 1 })]);
    await spend(policy, 0.1);
    const before = clock.pending;
    await refusal(policy.authorize(costing(0.1)));
    expect(clock.pending).toBe(before);
  });

  it.each([
    [{ windowSeconds: 60 }, "maxRequests"],
    [{ maxRequests: -1, windowSeconds: 60 }, "maxRequests"],
    [{ maxRequests: Number.NaN, windowSeconds: 60 }, "maxRequests"],
    [{ maxRequests: 1 }, "windowSeconds"],
    [{ maxRequests: 1, windowSeconds: 0 }, "windowSeconds"],
    [{ maxRequests: 1, windowSeconds: -60 }, "windowSeconds"],
    [{ maxRequests: 1, windowSeconds: Infinity }, "windowSeconds"],
    [{ maxRequests: 1, windowSeconds: Number.NaN }, "windowSeconds"],
    [{ maxRequests: 1, windowSeconds: 60, scope: 7 }, "scope"],
  ])("refuses %j and names %s", (options, field) => {
    expect(() => new VelocityLimitRule(options as never)).toThrow(
      expect.objectContaining({ field: `VelocityLimitRule.${field}` }),
    );
  });
});
