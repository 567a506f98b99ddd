import { describe, expect, it } from "vitest";
import type { PolicyEngine } from "../../src/engine.js";
import { MemoryLedger } from "../../src/ledger/memory.js";
import type { Rule } from "../../src/policy/rule.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { ConcurrencyLimitRule } from "../../src/policy/rules/concurrency-limit.js";
import { CostVelocityRule } from "../../src/policy/rules/cost-velocity.js";
import { ForecastBudgetRule } from "../../src/policy/rules/forecast-budget.js";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { PerUserBudgetRule } from "../../src/policy/rules/per-user-budget.js";
import { RestrictModelRule } from "../../src/policy/rules/restrict-model.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { VelocityLimitRule } from "../../src/policy/rules/velocity-limit.js";
import { ManualClock } from "../../src/testing/manual-clock.js";
import { lateLedger } from "./faulty-ledger.js";
import { bench, costing, month, refusal, settled, used } from "./kit.js";

const ada = { user_id: "ada" };

/** The ways a call of $0.10 is sent; each counts what reaches the provider. */
const entries: Record<
  string,
  (policy: PolicyEngine, labels: Record<string, string>, send: () => Promise<void>) => Promise<void>
> = {
  async run(policy, labels, send) {
    await policy.run(
      costing(0.1, { labels }),
      async () => (await send(), { usage: { prompt_tokens: 0, completion_tokens: 100 } }),
    );
  },
  async "authorize and settle"(policy, labels, send) {
    const auth = await policy.authorize(costing(0.1, { labels }));
    await send();
    await auth.settle(used(0.1));
  },
  async stream(policy, labels, send) {
    const stream = async function* () {
      await send();
      yield { choices: [], usage: { prompt_tokens: 0, completion_tokens: 100 } };
    };
    for await (const _chunk of await policy.run(costing(0.1, { labels }), stream));
  },
  async ticket(policy, labels, send) {
    const { ticket } = await policy.authorize(costing(0.1, { labels }));
    await send();
    await policy.settle(ticket, used(0.1));
  },
  async operation(policy, labels, send) {
    await policy.run({ operation: "search", costUsd: 0.1, labels }, send);
  },
};

/** Sends `n` calls at once; answers how many reached the provider, at most at once, and what refused the others. */
async function storm(n: number, call: (i: number, send: () => Promise<void>) => Promise<void>) {
  let [sent, inFlight, most] = [0, 0, 0];
  const send = async () => {
    sent++;
    most = Math.max(most, ++inFlight);
    await settled();
    inFlight--;
  };
  const outcomes = await Promise.allSettled(Array.from({ length: n }, (_, i) => call(i, send)));
  const refused = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" ? [(outcome.reason as { ruleName: string }).ruleName] : [],
  );
  return { sent, most, refused };
}

describe("100 parallel calls of $0.10 against $1, with default options:", () => {
  const limits: Record<string, () => Rule> = {
    "a month": () => new MonthlyBudgetRule({ maxUsd: 1 }),
    "a user's month": () => new MonthlyBudgetRule({ maxUsd: 1, scope: "user" }),
    "a user's own cap": () => new PerUserBudgetRule({ userBudgets: { ada: 1 } }),
    "a forecast": () => new ForecastBudgetRule({ monthlyBudgetUsd: 30 / 7 }),
    "a spend rate": () => new CostVelocityRule({ maxCostUsd: 1, windowSeconds: 3_600 }),
    "a lifetime": () => new BudgetRule({ maxUsd: 1, per: "lifetime" }),
  };
  const rows = Object.entries(limits).flatMap(([limit, rule]) =>
    Object.entries(entries).map(([entry, send]) => [limit, entry, rule, send] as const),
  );

  it.each(rows)("%s, by %s: exactly 10 sent, $1.00 settled, 90 refused", async (_limit, _entry, rule, call) => {
    const { policy } = bench([rule()]);
    const { sent, refused } = await storm(100, (_i, send) => call(policy, ada, send));
    expect(sent).toBe(10);
    expect(refused).toHaveLength(90);
    expect((await policy.usage({ labels: ada }))[0]).toMatchObject({ spentUsd: 1, heldUsd: 0 });
  });

  it("is so for two policies on one ledger together", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    const other = bench([new MonthlyBudgetRule({ maxUsd: 1 })], { store: policy.ledger, clock }).policy;
    const { sent, refused } = await storm(100, (i, send) => entries["run"]!(i % 2 === 0 ? policy : other, {}, send));
    expect([sent, refused.length]).toEqual([10, 90]);
    expect(await month(other)).toEqual({ spentUsd: 1, heldUsd: 0 });
  });

  it("is so on a ledger that answers later", async () => {
    const clock = new ManualClock();
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })], {
      store: lateLedger(new MemoryLedger({ clock })),
      clock,
    });
    const { sent, refused } = await storm(100, (_i, send) => entries["run"]!(policy, {}, send));
    expect([sent, refused.length]).toEqual([10, 90]);
    expect(await month(policy)).toEqual({ spentUsd: 1, heldUsd: 0 });
  });

  it("does not let time decide: no call waited", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    const before = clock.now();
    await storm(100, (_i, send) => entries["run"]!(policy, {}, send));
    expect(clock.now()).toBe(before);
  });
});

it("50 users with $1 each, 20 parallel calls of $0.10 a user: 10 sent for each", async () => {
  const { policy } = bench([new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 1 })], { maxWaiters: 2_000 });
  const { sent, refused } = await storm(1_000, (i, send) =>
    entries["run"]!(policy, { user_id: `user-${i % 50}` }, send),
  );
  expect([sent, refused.length]).toEqual([500, 500]);
  for (let i = 0; i < 50; i++)
    expect(await month(policy, { user_id: `user-${i}` })).toEqual({ spentUsd: 1, heldUsd: 0 });
});

it("velocity 10 in 60 s: of 100 parallel calls 10 are sent, failing ones count too", async () => {
  for (const call of [
    entries["run"]!,
    async (policy: PolicyEngine, _labels: object, send: () => Promise<void>) =>
      void (await policy
        .run(costing(0.1), async () => (await send(), Promise.reject(Object.assign(new Error("x"), { status: 400 }))))
        .catch((error: { status: number }) => (error.status === 400 ? undefined : Promise.reject(error)))),
  ]) {
    const { policy } = bench([new VelocityLimitRule({ maxRequests: 10, windowSeconds: 60 })]);
    const { sent, refused } = await storm(100, (_i, send) => call(policy, {}, send));
    expect(sent).toBe(10);
    expect(refused).toEqual(Array(90).fill("VelocityLimitRule"));
  }
});

it("a concurrency limit of 7: never more than 7 of 100 parallel calls are under way, and all are done", async () => {
  const { policy } = bench([new ConcurrencyLimitRule({ maxConcurrent: 7 })]);
  expect(await storm(100, (_i, send) => entries["run"]!(policy, {}, send))).toEqual({
    sent: 100,
    most: 7,
    refused: [],
  });
});

describe("all eight rules together", () => {
  const rules = () => [
    new TagBasedModelDowngradeRule({ condition: ({ labels }) => labels["plan"] === "free", downgradeTo: "small" }),
    new RestrictModelRule({ disallowedModels: ["flat"], condition: ({ labels }) => labels["plan"] === "free" }),
    new MaxCostPerRequestRule({ maxUsd: 0.1 }),
    new MonthlyBudgetRule({ maxUsd: 2 }),
    new PerUserBudgetRule({ userBudgets: { ada: 0.5 }, defaultMaxUsd: 0.3 }),
    new ForecastBudgetRule({ monthlyBudgetUsd: 100 }),
    new VelocityLimitRule({ maxRequests: 60, windowSeconds: 60 }),
    new CostVelocityRule({ maxCostUsd: 1.2, windowSeconds: 3_600 }),
  ];

  it("let through exactly what the tightest limit leaves", async () => {
    const { policy } = bench(rules());
    const { sent, refused } = await storm(100, (i, send) =>
      entries["run"]!(policy, { user_id: ["ada", "bob", "eve"][i % 3]! }, send),
    );
    // ada 5, bob 3, eve 3: $1.10 of the $1.20 an hour.
    expect(sent).toBe(11);
    expect(new Set(refused)).toEqual(new Set(["PerUserBudgetRule"]));
    const rows = await policy.usage({ labels: ada });
    expect(rows.map(({ rule, spentUsd, heldUsd }) => [rule, spentUsd, heldUsd])).toEqual([
      ["MonthlyBudgetRule", 1.1, 0],
      ["PerUserBudgetRule", 0.5, 0],
      ["ForecastBudgetRule", 1.1, 0],
      ["VelocityLimitRule", 11, 0],
      ["CostVelocityRule", 1.1, 0],
    ]);
  });

  it("send free users to the small model, and no more than 60 calls a minute", async () => {
    const { policy } = bench(rules());
    const models: string[] = [];
    const call = async (_i: number, send: () => Promise<void>) => {
      const auth = await policy.authorize(costing(0.1, { labels: { plan: "free", user_id: `u${_i}` } }));
      models.push(auth.request.model);
      await send();
      await auth.settle({ inputTokens: 0, outputTokens: 100 });
    };
    const { sent, refused } = await storm(100, call);
    expect(sent).toBe(60);
    expect(new Set(models)).toEqual(new Set(["small"]));
    expect(new Set(refused)).toEqual(new Set(["VelocityLimitRule"]));
    expect((await month(policy)).spentUsd).toBeCloseTo(0.6, 12);
  });
});

it("20 parallel calls that each hold $0.16 and settle $0.005 against $1 all succeed by waiting", async () => {
  const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
  const before = clock.now();
  const outcome = await storm(20, async (_i, send) => {
    await policy.run(costing(0.16), async () => (await send(), { usage: { prompt_tokens: 0, completion_tokens: 5 } }));
  });
  expect(outcome).toEqual({ sent: 20, most: 6, refused: [] });
  expect(await month(policy)).toEqual({ spentUsd: 0.1, heldUsd: 0 });
  expect(clock.now()).toBe(before);
});

it("the first example of the guide answers on gpt-4o with no maximum set", async () => {
  const { policy } = bench([
    new MonthlyBudgetRule({ maxUsd: 100 }),
    new MaxCostPerRequestRule({ maxUsd: 0.1 }),
    new VelocityLimitRule({ maxRequests: 60, windowSeconds: 60 }),
  ]);
  const messages = [{ role: "user", content: "Write a haiku about budgets." }];
  for (const request of [
    { model: "gpt-4o", messages },
    { model: "gpt-4o", messages, amendable: false },
  ]) {
    const auth = await policy.authorize(request);
    expect(auth.heldUsd).toBeLessThanOrEqual(0.1);
    expect(await auth.settle({ inputTokens: 14, outputTokens: 20 })).toMatchObject({ estimated: false });
  }
});

describe("one call that alone exceeds what is left", () => {
  it("is refused, never sent", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    await refusal(policy.run(costing(1.001), () => expect.fail("it was sent")));
    await refusal(policy.run({ operation: "image", costUsd: 5 }, () => expect.fail("it was sent")));
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0 });
  });

  it("or with clamp lowered to what is left, in parallel too: what is sent never costs more than $1", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    let tokens = 0;
    await Promise.allSettled(
      Array.from({ length: 30 }, () =>
        policy.run(costing(0.7, { clamp: true }), async ({ maxOutputTokens }) => {
          tokens += maxOutputTokens!;
          await settled();
          return { usage: { prompt_tokens: 0, completion_tokens: maxOutputTokens } };
        }),
      ),
    );
    expect(tokens).toBe(1_000);
    expect(await month(policy)).toEqual({ spentUsd: 1, heldUsd: 0 });
  });
});
