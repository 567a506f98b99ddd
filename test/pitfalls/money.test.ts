import {
  BudgetRule,
  ConfigError,
  CostVelocityRule,
  ForecastBudgetRule,
  MaxCostPerRequestRule,
  MemoryLedger,
  MonthlyBudgetRule,
  PerUserBudgetRule,
  PolicyEngine,
  RestrictModelRule,
  TagBasedModelDowngradeRule,
  UnknownModelError,
  VelocityLimitRule,
  type Rule,
} from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";
import { AsyncCaller } from "@langchain/core/utils/async_caller";
import { describe, expect, it } from "vitest";
import { answering, costing, held, isRefused, parallel, policyOf, spent, turn } from "./kit.js";
import { slowKeyv } from "./slow-keyv.js";

const month = (maxUsd: number) => new MonthlyBudgetRule({ maxUsd });
const text = (content: string) => ({ choices: [{ delta: { content } }] });

/** One test for each row of the table of what was measured to be wrong elsewhere; the row's own words are the title. */
describe("money that escapes", () => {
  it("check before, record after: 100 parallel $0.01 calls do not pass a $0.10 limit of any kind", async () => {
    const limits: Rule[] = [
      month(0.1),
      new PerUserBudgetRule({ userBudgets: { ada: 0.1 } }),
      new CostVelocityRule({ maxCostUsd: 0.1, windowSeconds: 60 }),
      new ForecastBudgetRule({ monthlyBudgetUsd: 3, lookbackDays: 1 }),
    ];
    for (const rule of limits) {
      const { policy } = policyOf([rule], { defaultLabels: { user_id: "ada" } });
      expect(await parallel(policy, 100, 0.01), rule.name).toBe(10);
      expect(await spent(policy)).toBe(0.1);
    }
  });

  it("rate limit counted at completion: of 100 parallel calls 10 pass 10 per 60 s", async () => {
    const { policy } = policyOf([new VelocityLimitRule({ maxRequests: 10, windowSeconds: 60 })]);
    expect(await parallel(policy, 100, 0.01)).toBe(10);
  });

  it("failing calls are never recorded: of 2,000 failing calls 10 pass 10 per 60 s", async () => {
    const { policy } = policyOf([new VelocityLimitRule({ maxRequests: 10, windowSeconds: 60 })]);
    const failing = () => Promise.reject(Object.assign(new Error("no"), { status: 400, expected: true }));
    expect(await parallel(policy, 2_000, 0.01, failing)).toBe(10);
  });

  it("float sums: after ten $0.01 calls no eleventh passes $0.10", async () => {
    const { policy } = policyOf([month(0.1)]);
    for (let i = 0; i < 10; i++) await policy.run(costing(0.01), () => answering(0.01));
    expect(await isRefused(policy.run({ operation: "a nano-dollar", costUsd: 1e-9 }, () => 1))).toBe(true);
  });

  it("only MaxCost looks at the request itself: one $5 call does not pass a $0.10 month", async () => {
    const { policy } = policyOf([month(0.1)]);
    expect(await parallel(policy, 1, 5)).toBe(0);
  });

  it("a stream that is never read, or broken off: it is charged, and the upstream is closed", async () => {
    const { policy, clock } = policyOf([month(10)], { leaseMs: 1_000, maxCallMs: 5_000 });
    let closed = 0;
    const stream = async function* () {
      try {
        for (;;) yield text("x".repeat(400));
      } finally {
        closed++;
      }
    };
    for await (const _chunk of await policy.run({ model: "flat", inputTokens: 100, maxOutputTokens: 500 }, stream))
      break;
    expect([closed, await spent(policy), await held(policy)]).toEqual([1, 0.2, 0]);

    const started = stream();
    await started.next();
    await policy.run({ model: "flat", inputTokens: 100, maxOutputTokens: 500 }, () => started);
    for (let i = 0; i < 80; i++) {
      clock.advance(100);
      await turn();
    }
    expect([closed, await held(policy)]).toEqual([2, 0]);
    expect(await spent(policy)).toBeGreaterThanOrEqual(0.3);
  });

  it("stream without usage, tool-call deltas ignored: 8,000 characters of arguments are 2,000 tokens, not 1", async () => {
    const { policy } = policyOf([month(10)]);
    const stream = async function* () {
      for (let i = 0; i < 10; i++)
        yield { choices: [{ delta: { tool_calls: [{ index: 0, function: { arguments: "a".repeat(800) } }] } }] };
    };
    for await (const _chunk of await policy.run({ model: "flat", inputTokens: 0, maxOutputTokens: 4_000 }, stream));
    expect(await spent(policy)).toBe(2);
  });

  it("unknown model: it is refused before it is sent, by name, with the price to paste", async () => {
    const { policy } = policyOf([month(10), new MaxCostPerRequestRule({ maxUsd: 1 })]);
    const error = await policy
      .run({ model: "brand-new-model", inputTokens: 10 }, () => expect.fail("it was sent"))
      .catch((thrown: unknown) => thrown);
    expect(UnknownModelError.isInstance(error)).toBe(true);
    expect((error as Error).message).toContain('"brand-new-model": { inputUsdPerMTok');
  });

  it("first-prefix price match: each of these names has its own price, never its neighbour's", async () => {
    const { policy } = policyOf([], { prices: {} });
    const output = {
      "gpt-5": 10,
      "gpt-5-mini": 2,
      "gpt-5-nano": 0.4,
      o1: 60,
      "o1-pro": 600,
      o3: 8,
      "o3-mini": 4.4,
      "gpt-4o": 10,
      "gpt-4o-mini": 0.6,
      "gpt-4.1": 8,
      "gpt-4.1-mini": 1.6,
      "gpt-4": 60,
      "gpt-4-turbo": 30,
    };
    for (const [model, usd] of Object.entries(output)) {
      const auth = await policy.authorize({ model, inputTokens: 0, maxOutputTokens: 1_000_000 });
      expect((await auth.settle({ inputTokens: 0, outputTokens: 1_000_000 })).costUsd, model).toBe(usd);
    }
  });

  it("cached tokens ignored: reads cost their own price, and so do writes", async () => {
    const { policy } = policyOf([], { prices: {} });
    const cost = async (model: string, usage: object) =>
      (
        await (
          await policy.authorize({ model, inputTokens: 1_000_000, maxOutputTokens: 0 })
        ).settle({ inputTokens: 1_000_000, outputTokens: 0, ...usage })
      ).costUsd;
    expect(await cost("gpt-4o", {})).toBe(2.5);
    expect(await cost("gpt-4o", { cacheReadTokens: 950_000 })).toBeCloseTo(1.3125, 9);
    expect(await cost("claude-3-5-haiku-20241022", { cacheWriteTokens: 1_000_000 })).toBeCloseTo(1, 9);
  });

  it("n, max_completion_tokens, tool schemas, block-style system prompts are in the estimate: none passes a $0.05 cap", async () => {
    const small = { model: "flat", messages: [{ role: "user", content: "hi" }], maxOutputTokens: 10 };
    const { heldUsd } = await policyOf([]).policy.authorize(small);
    const { policy } = policyOf([new MaxCostPerRequestRule({ maxUsd: heldUsd + 0.04 })]);
    expect(await isRefused(policy.authorize(small))).toBe(false);
    const dear = [
      { ...small, params: { n: 6 } },
      { ...small, maxOutputTokens: undefined, params: { max_completion_tokens: 60 } },
      { ...small, tools: [{ type: "function", function: { name: "f", description: "x".repeat(60) } }] },
      { ...small, messages: [{ role: "system", content: [{ type: "text", text: "x".repeat(60) }] }] },
    ];
    for (const request of dear)
      expect(await isRefused(policy.authorize(request as never)), JSON.stringify(request)).toBe(true);
  });

  it("exact model names only in RestrictModel: dated variants of a listed model count as it", async () => {
    const { policy } = policyOf([new RestrictModelRule({ disallowedModels: ["gpt-4o"] })], { prices: {} });
    for (const model of ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-11-20"])
      expect(await isRefused(policy.authorize({ model, inputTokens: 1 })), model).toBe(true);
    expect(await isRefused(policy.authorize({ model: "gpt-4o-mini", inputTokens: 1 }))).toBe(false);
  });

  it("rules after a downgrade see the old model; its target is unchecked: they see the new one, and it is checked", async () => {
    const swap = new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "gpt-4o-mini" });
    const restrict = (model: string) => new RestrictModelRule({ disallowedModels: [model] });
    const send = (rules: Rule[]) =>
      policyOf(rules, { prices: {} }).policy.authorize({ model: "gpt-4o", inputTokens: 1 });
    expect((await send([swap, restrict("gpt-4o")])).request.model).toBe("gpt-4o-mini");
    expect(await isRefused(send([restrict("gpt-4o-mini"), swap]))).toBe(true);
  });

  it('store "none" or misspelt: it is refused when the policy is built', () => {
    for (const store of ["none", "Memory", "redis://localhost", "", null, {}, []]) {
      expect(() => new PolicyEngine({ rules: [month(1)], store: store as never }), JSON.stringify(store)).toThrow(
        expect.objectContaining({ code: "INVALID_INPUT", field: "store" }),
      );
    }
  });

  it("NaN budget, negative window, missing callback: each is refused when the rule is built, by name and value", () => {
    const bad: [() => unknown, string][] = [
      [() => month(Number.NaN), "MonthlyBudgetRule.maxUsd"],
      [() => new VelocityLimitRule({ maxRequests: 1, windowSeconds: -60 }), "VelocityLimitRule.windowSeconds"],
      [() => new TagBasedModelDowngradeRule({ downgradeTo: "x" } as never), "TagBasedModelDowngradeRule.condition"],
    ];
    for (const [make, field] of bad) expect(make).toThrow(expect.objectContaining({ field }));
  });

  it("exception after the paid call (odd label, odd message): the answer is returned and the spend recorded, 50 of 50", async () => {
    const { policy } = policyOf([month(100)]);
    for (let i = 0; i < 50; i++) {
      const odd = [
        { usage: { prompt_tokens: {} } },
        { usage: () => 1 },
        Object.freeze([1]),
        new Proxy({}, { get: () => expect.fail("do not look") }),
      ][i % 4];
      const answer = { odd };
      expect(
        (await policy.run(
          costing(0.1),
          () => Promise.resolve(answer),
          () => odd as never,
        )) === answer,
      ).toBe(true);
    }
    expect(await spent(policy)).toBeCloseTo(5, 9);
    for (const request of [
      { ...costing(0.1), labels: { user_id: 7 } },
      { model: "flat", messages: [Symbol("odd")] },
    ]) {
      expect(
        ConfigError.isInstance(
          await policy.run(request as never, () => expect.fail("it was paid")).catch((error: unknown) => error),
        ),
      ).toBe(true);
    }
  });

  it("three separate increments for three limits: a concurrent call denies no valid one, and nothing leaks", async () => {
    const scope = { label: "team" };
    for (let round = 0; round < 100; round++) {
      const rules = [
        new MonthlyBudgetRule({ maxUsd: 1 }),
        new MonthlyBudgetRule({ name: "team", maxUsd: 0.5, scope }),
        new BudgetRule({ maxCalls: 1, per: "day", scope: { label: "job" } }),
      ];
      const { policy } = policyOf(rules);
      const call = (team: string, usd: number) =>
        isRefused(policy.authorize({ ...costing(usd), waitMs: 0, labels: { team, job: team } }));
      const [tooLarge, valid] = await Promise.all([call("red", 0.6), call("blue", 0.5)]);
      expect([tooLarge, valid]).toEqual([true, false]);
      expect(
        (await policy.usage({ labels: { team: "red", job: "red" } })).map(
          ({ spentUsd, heldUsd }) => spentUsd + heldUsd,
        ),
      ).toEqual([0.5, 0, 0]);
    }
  });

  it("hold = last cost: a cheap warm-up, or none, lets nobody pass $1", async () => {
    for (const warm of [true, false]) {
      const { policy } = policyOf([month(1)]);
      if (warm) await policy.run(costing(0.001), () => answering(0.001));
      await parallel(policy, 100, 0.1);
      expect(await spent(policy)).toBeLessThanOrEqual(1);
      expect(await spent(policy)).toBeGreaterThan(0.9);
    }
  });

  it("expired hold refunded / pinned for ever: a crash is charged once, and a late bill replaces the charge", async () => {
    const clock = new ManualClock();
    const store = new MemoryLedger({ clock });
    const alive = policyOf([month(1)], { store, clock }).policy;
    const crashed = policyOf([month(1)], { store, clock: new ManualClock() }).policy;
    const tickets = [(await crashed.authorize(costing(0.5))).ticket, (await crashed.authorize(costing(0.4))).ticket];
    clock.advance(120_000);
    expect([await spent(alive), await held(alive)]).toEqual([0.9, 0]);
    await alive.settle(tickets[0]!, { inputTokens: 0, outputTokens: 100 });
    await alive.settle(tickets[0]!, { inputTokens: 0, outputTokens: 100 });
    expect([await spent(alive), await held(alive)]).toEqual([0.5, 0]);
  });

  it("worst-case holds with nobody waiting: a $25 budget is not full at $0 spent", async () => {
    const { policy } = policyOf([month(25)]);
    const call = { model: "flat", inputTokens: 0, maxOutputTokens: 10_000 };
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () => isRefused(policy.run(call, async () => (await turn(), answering(0.05))))),
    );
    expect(outcomes).toEqual(Array(20).fill(false));
    expect(await spent(policy)).toBe(1);
  });

  it("denial retried by retry layers: one denial is one request", async () => {
    const { policy } = policyOf([month(0)]);
    let tries = 0;
    const caller = new AsyncCaller({ maxRetries: 6 });
    const call = caller.call(async () => {
      tries++;
      return policy.run(costing(0.1), () => expect.fail("it was sent"));
    });
    expect(await isRefused(call)).toBe(true);
    expect(tries).toBe(1);
  });

  it("get-then-set on Keyv: of 100 parallel calls of $0.01 ten are counted against $0.10, none is lost", async () => {
    const policy = new PolicyEngine({
      rules: [month(0.1)],
      store: slowKeyv(),
      prices: { overrides: { flat: { inputUsdPerMTok: 1_000, outputUsdPerMTok: 1_000 } } },
    });
    expect(await parallel(policy, 100, 0.01)).toBe(10);
    expect([await spent(policy), await held(policy)]).toEqual([0.1, 0]);
    await policy.close();
  });
});
