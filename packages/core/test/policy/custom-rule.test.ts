import { describe, expect, it } from "vitest";
import type { Claim } from "../../src/domain/claim.js";
import type { Context } from "../../src/domain/context.js";
import { RuleDecision } from "../../src/policy/decision.js";
import { BaseRule, type Rule } from "../../src/policy/rule.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { bench, costing, refusal, spend } from "../engine/kit.js";

class BlockWeekendsRule extends BaseRule {
  evaluate({ now }: Context): RuleDecision {
    const day = new Date(now).getUTCDay();
    return day === 0 || day === 6 ? RuleDecision.block({ reason: "no weekend spend" }) : RuleDecision.allow();
  }
}
const lifetime = {
  scope: "workspace",
  measure: "usd",
  window: { kind: "lifetime" },
  limit: 1,
} as const satisfies Claim;

describe("a rule of one's own", () => {
  it("is a subclass of BaseRule, as in the first guide", async () => {
    const { policy, clock } = bench([new BlockWeekendsRule()]);
    await policy.authorize(costing(0.1));
    clock.advanceTo(Date.parse("2026-03-14T00:00:00Z"));
    const violation = await refusal(policy.authorize(costing(0.1)));
    expect(violation).toMatchObject({
      ruleName: "BlockWeekendsRule",
      decision: { allow: false, action: "block", metadata: { reason: "no weekend spend" } },
    });
  });

  it("or a plain object that answers plain objects, at once or later", async () => {
    for (const answer of [
      { allow: false },
      { allow: false, action: "block", metadata: { reason: "no" } },
      { allow: true, action: "block" },
      { allow: false, action: "downgrade", metadata: { downgradeTo: "small" } },
    ]) {
      for (const evaluate of [() => answer, async () => answer]) {
        expect(
          (await refusal(bench([{ name: "plain", evaluate } as unknown as Rule]).policy.authorize(costing(0.1))))
            .ruleName,
        ).toBe("plain");
      }
    }
    const rule = { name: "plain", evaluate: () => ({ allow: true, action: null, metadata: {} }) } as unknown as Rule;
    await bench([rule]).policy.authorize(costing(0.1));
  });

  it("sees the call as it would be sent", async () => {
    const seen: Context[] = [];
    const messages = [{ role: "user", content: "hi" }];
    const { policy, clock } = bench([
      { name: "look", evaluate: (context) => (seen.push(context), RuleDecision.allow()) },
    ]);
    await policy.authorize({
      model: "flat",
      messages,
      params: { temperature: 0 },
      maxOutputTokens: 7,
      endpoint: "/chat",
      provider: "acme",
      labels: { user_id: "ada" },
    });
    expect(seen[0]).toMatchObject({
      model: "flat",
      messages,
      params: { temperature: 0 },
      endpoint: "/chat",
      provider: "acme",
      now: clock.now(),
    });
    expect(seen[0]!.labels["user_id"]).toBe("ada");
    const { inputTokens, maxOutputTokens, costUsd } = seen[0]!.estimate;
    expect(maxOutputTokens).toBe(7);
    expect(inputTokens).toBeGreaterThan(1);
    expect(costUsd).toBeCloseTo((inputTokens + 7) / 1_000, 9);
  });

  it("reads meters, its own or others'", async () => {
    const readings: unknown[] = [];
    const rule: Rule = {
      name: "reader",
      async evaluate({ ledger }) {
        readings.push(await ledger.read(lifetime), await ledger.read({ ...lifetime, scope: "user" }));
        return RuleDecision.claim(lifetime);
      },
    };
    const { policy } = bench([rule]);
    await spend(policy, 0.25);
    await policy.authorize(costing(0.5));
    await policy.authorize(costing(0.1));
    const [first, , , , third, nobody] = readings;
    expect(first).toEqual({ settled: 0, held: 0 });
    expect(third).toEqual({ settled: 0.25, held: 0.5, count: 1, mean: 0.25, variance: 0 });
    expect(nobody).toEqual({ settled: 0, held: 0 });
  });

  it("claims: several windows and measures at once, all or nothing", async () => {
    const claims: Claim[] = [
      lifetime,
      { scope: "workspace", measure: "tokens", window: { kind: "calendar", unit: "day" }, limit: 500 },
      { scope: { label: "team" }, measure: "calls", window: { kind: "lifetime" }, limit: 1 },
    ];
    const { policy } = bench([
      { name: "three", evaluate: () => RuleDecision.claim(...claims) },
      new MonthlyBudgetRule({ maxUsd: 10 }),
    ]);
    await spend(policy, 0.4, { team: "red" });
    const { decision } = await refusal(policy.authorize(costing(0.1, { labels: { team: "red" } })));
    expect(decision.metadata).toEqual({
      measure: "calls",
      scope: { label: "team" },
      limit: 1,
      settled: 1,
      held: 0,
      needed: 1,
    });
    expect(
      (await refusal(policy.authorize(costing(0.2, { labels: { team: "blue" } })))).decision.metadata,
    ).toMatchObject({ measure: "tokens", limit: 500, settled: 400, needed: 200 });
    expect((await policy.usage()).map(({ heldUsd }) => heldUsd)).toEqual([0, 0, 0]);
  });

  it("may put its own words on a refused claim", async () => {
    const rule: Rule = {
      name: "worded",
      evaluate: () => RuleDecision.claim({ ...lifetime, limit: 0 }),
      explain: (_context, { needed }) => ({ sorry: needed }),
    };
    expect((await refusal(bench([rule]).policy.authorize(costing(0.1)))).decision.metadata).toEqual({ sorry: 0.1 });
  });

  it("blocks all the same when its words fail", async () => {
    const rule: Rule = {
      name: "worded",
      evaluate: () => RuleDecision.claim({ ...lifetime, limit: 0 }),
      explain() {
        throw new Error("lost for words");
      },
    };
    const violation = await refusal(bench([rule]).policy.authorize(costing(0.1)));
    expect(violation).toMatchObject({ ruleName: "worded", cause: { message: "lost for words" } });
  });
});

describe("a rule that", () => {
  const broken = new Error("broken");
  it.each([
    [
      "throws",
      () => {
        throw broken;
      },
      broken,
    ],
    ["rejects", () => Promise.reject(broken), broken],
    [
      "throws a word",
      () => {
        throw "broken";
      },
      "broken",
    ],
    [
      "throws what has no words",
      () => {
        throw Object.create(null);
      },
      expect.anything(),
    ],
    ["answers nothing", () => undefined, expect.any(TypeError)],
    ["answers null later", async () => null, expect.any(TypeError)],
    ["answers true", () => true, expect.any(TypeError)],
    ["answers an empty object", () => ({}), expect.any(TypeError)],
    ["answers a truthy allow", () => ({ allow: "yes" }), expect.any(TypeError)],
    ["answers claims that are none", () => ({ allow: true, claims: 7 }), expect.any(TypeError)],
    [
      "claims an unknown measure",
      () => RuleDecision.claim({ ...lifetime, measure: "euros" } as never),
      expect.any(TypeError),
    ],
    [
      "claims a limit that is no number",
      () => RuleDecision.claim({ ...lifetime, limit: Number.NaN }),
      expect.any(TypeError),
    ],
    ["claims a negative limit", () => RuleDecision.claim({ ...lifetime, limit: -1 }), expect.any(TypeError)],
    [
      "claims a window that is none",
      () => RuleDecision.claim({ ...lifetime, window: { kind: "moon" } } as never),
      expect.any(TypeError),
    ],
    ["claims no window", () => RuleDecision.claim({ ...lifetime, window: undefined } as never), expect.any(TypeError)],
    [
      "claims the last NaN ms",
      () => RuleDecision.claim({ ...lifetime, window: { kind: "sliding", ms: Number.NaN } }),
      expect.any(TypeError),
    ],
    [
      "claims a calendar fortnight",
      () => RuleDecision.claim({ ...lifetime, window: { kind: "calendar", unit: "fortnight" } } as never),
      expect.any(TypeError),
    ],
    [
      "claims half a day",
      () => RuleDecision.claim({ ...lifetime, window: { kind: "days", days: 0.5 } }),
      expect.any(TypeError),
    ],
    [
      "claims a scope that is none",
      () => RuleDecision.claim({ ...lifetime, scope: "team" } as never),
      expect.any(TypeError),
    ],
    ["claims no scope", () => RuleDecision.claim({ ...lifetime, scope: undefined } as never), expect.any(TypeError)],
    ["claims nothing at all", () => RuleDecision.claim(null as never), expect.any(TypeError)],
  ])("%s blocks the call with its name and the cause", async (_what, evaluate, cause) => {
    const { policy } = bench([{ name: "mine", evaluate: evaluate as never }, new MonthlyBudgetRule({ maxUsd: 1 })]);
    const violation = await refusal(policy.authorize(costing(0.1)));
    expect(violation).toMatchObject({ ruleName: "mine", decision: { allow: false, action: "block" } });
    expect(violation.cause).toEqual(cause);
    expect(violation.decision.metadata["reason"]).toMatch(/^the rule threw: /);
    expect(await policy.usage().catch(() => [])).not.toContainEqual(expect.objectContaining({ heldUsd: 0.1 }));
  });

  it.each([
    [undefined],
    [null],
    ["rule"],
    [{}],
    [{ name: "x" }],
    [{ name: "", evaluate: () => RuleDecision.allow() }],
    [{ name: "x", evaluate: () => RuleDecision.allow(), mode: "off" }],
    [{ name: "x", evaluate: () => RuleDecision.allow(), onClosed: true }],
  ])("is %j is refused when the policy is built", (rule) => {
    expect(() => bench([rule as never])).toThrow(
      expect.objectContaining({ code: "INVALID_INPUT", field: expect.stringMatching(/^rules\[0\]/) }),
    );
  });
});
