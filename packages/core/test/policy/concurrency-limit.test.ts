import { describe, expect, it } from "vitest";
import { ConcurrencyLimitRule } from "../../src/policy/rules/concurrency-limit.js";
import { bench, costing, pass, refusal, settled, used, watch } from "../engine/kit.js";

describe("ConcurrencyLimitRule", () => {
  it("lets at most maxConcurrent calls be under way, the next one waits for its turn", async () => {
    const { policy } = bench([new ConcurrencyLimitRule({ maxConcurrent: 2 })]);
    const first = await policy.authorize(costing(0.1));
    await policy.authorize(costing(0.1));
    const third = watch(policy.authorize(costing(0.1)));
    await settled();
    expect(third.state).toBe("waiting");
    await first.settle(used(0.1));
    await settled();
    expect(third.state).toBe("done");
  });

  it("refuses after waitMs, with what is under way", async () => {
    const { policy, clock } = bench([new ConcurrencyLimitRule({ maxConcurrent: 1 })], { waitMs: 1_000 });
    await policy.authorize(costing(0.1));
    const second = watch(policy.authorize(costing(0.1)));
    await pass(clock, 999);
    expect(second.state).toBe("waiting");
    await pass(clock, 1);
    expect(second.error).toMatchObject({ ruleName: "ConcurrencyLimitRule" });
    expect((second.error as { decision: { metadata: unknown } }).decision.metadata).toStrictEqual({
      inFlight: 1,
      maxConcurrent: 1,
      scope: "workspace",
    });
  });

  it("gives the turn back on release, on failure and at the end of an abandoned call's lease", async () => {
    const { policy, clock } = bench([new ConcurrencyLimitRule({ maxConcurrent: 1 })], { waitMs: 0, maxCallMs: 60_000 });
    await (await policy.authorize(costing(0.1))).release();
    await policy.run(costing(0.1), () => Promise.reject(new Error("broken"))).catch(() => undefined);
    await policy.authorize(costing(0.1));
    await refusal(policy.authorize(costing(0.1)));
    await pass(clock, 140_000, 10_000);
    await policy.authorize(costing(0.1));
  });

  it("counts each user by itself with scope user, and free calls like others", async () => {
    const { policy } = bench([new ConcurrencyLimitRule({ maxConcurrent: 1, scope: "user" })], {
      waitMs: 0,
      prices: { free: ["ollama"] },
    });
    const call = (user_id: string) => ({ model: "llama3", provider: "ollama", inputTokens: 1, labels: { user_id } });
    await policy.authorize(call("ada"));
    await refusal(policy.authorize(call("ada")));
    await policy.authorize(call("bob"));
    await policy.authorize({ model: "llama3", provider: "ollama", inputTokens: 1 });
  });

  it("with 0 lets nothing through, and nothing waits for what cannot come", async () => {
    const { policy } = bench([new ConcurrencyLimitRule({ maxConcurrent: 0 })]);
    expect((await refusal(policy.authorize(costing(0.1)))).decision.metadata).toMatchObject({
      inFlight: 0,
      maxConcurrent: 0,
    });
  });

  it.each([
    [{}, "maxConcurrent"],
    [{ maxConcurrent: -1 }, "maxConcurrent"],
    [{ maxConcurrent: Number.NaN }, "maxConcurrent"],
    [{ maxConcurrent: 1, scope: "everybody" }, "scope"],
  ])("refuses %j and names %s", (options, field) => {
    expect(() => new ConcurrencyLimitRule(options as never)).toThrow(
      expect.objectContaining({ field: `ConcurrencyLimitRule.${field}` }),
    );
  });
});
