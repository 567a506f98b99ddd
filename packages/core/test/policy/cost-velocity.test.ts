import { describe, expect, it } from "vitest";
import { CircuitOpenError } from "../../src/errors/policy-violation-error.js";
import { CostVelocityRule } from "../../src/policy/rules/cost-velocity.js";
import { bench, costing, refusal, spend, used } from "../engine/kit.js";

describe("CostVelocityRule", () => {
  it("blocks when the spend of the last window has reached maxCostUsd, with an open circuit", async () => {
    const { policy } = bench([new CostVelocityRule({ maxCostUsd: 5, windowSeconds: 3_600 })]);
    await spend(policy, 5);
    const violation = await refusal(policy.authorize(costing(0.001)));
    expect(CircuitOpenError.isInstance(violation)).toBe(true);
    expect(violation.decision.metadata).toStrictEqual({
      spentUsd: 5,
      maxCostUsd: 5,
      windowSeconds: 3_600,
      scope: "workspace",
    });
  });

  it("counts what calls under way may cost", async () => {
    const { policy } = bench([new CostVelocityRule({ maxCostUsd: 5, windowSeconds: 3_600 })], { waitMs: 0 });
    const auth = await policy.authorize(costing(4));
    await refusal(policy.authorize(costing(2)));
    await auth.settle(used(1));
    await policy.authorize(costing(2));
  });

  it("frees the money when the window has passed, at the latest a thirtieth of it later", async () => {
    const { policy, clock } = bench([new CostVelocityRule({ maxCostUsd: 5, windowSeconds: 3_600 })]);
    await spend(policy, 5);
    clock.advance(3_599_999);
    const { retryAfterMs } = await refusal(policy.authorize(costing(0.001)));
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(1 + 3_600_000 / 30);
    clock.advance(retryAfterMs!);
    await spend(policy, 5);
  });

  it("counts each user by itself with scope user", async () => {
    const { policy } = bench([new CostVelocityRule({ maxCostUsd: 1, windowSeconds: 60, scope: "user" })]);
    await spend(policy, 1, { user_id: "ada" });
    await refusal(policy.authorize(costing(0.1, { labels: { user_id: "ada" } })));
    await spend(policy, 1, { user_id: "bob" });
    await spend(policy, 3);
  });

  it.each([
    [{ windowSeconds: 60 }, "maxCostUsd"],
    [{ maxCostUsd: -1, windowSeconds: 60 }, "maxCostUsd"],
    [{ maxCostUsd: 9_000_001, windowSeconds: 60 }, "maxCostUsd"],
    [{ maxCostUsd: 1, windowSeconds: 0 }, "windowSeconds"],
    [{ maxCostUsd: 1, windowSeconds: 366 * 86_400 + 1 }, "windowSeconds"],
    [{ maxCostUsd: 1, windowSeconds: 60, scope: {} }, "scope"],
  ])("refuses %j and names %s", (options, field) => {
    expect(() => new CostVelocityRule(options as never)).toThrow(
      expect.objectContaining({ field: `CostVelocityRule.${field}` }),
    );
  });
});
