import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Crew } from "./crew.js";
import { freshNamespace, sleep, type RuleSpec } from "./scene.js";
import type { Fate } from "./worker.js";

const PROCESSES = 4;
const CALLS = 250;
const users = ["ada", "bob", "cleo", "dan", "eve"];

let crew: Crew;
beforeAll(async () => {
  crew = new Crew(PROCESSES);
  await crew.all("denied");
}, 60_000);
afterAll(() => crew[Symbol.asyncDispose]());

async function open(rules: readonly RuleSpec[]): Promise<void> {
  // Some hundred calls at once on few cores: the deadline is not what is tested here.
  const options = { storeTimeoutMs: 10_000, waitMs: 60_000 };
  await crew.open({ url: inject("redisUrl"), namespace: freshNamespace(), rules, options });
  // Everybody is connected: the calls begin at once.
  await crew.all("standing");
}

async function burst(more: { ms: number; users?: readonly string[] }) {
  const fates: readonly Fate[] = (await crew.all("burst", { calls: CALLS, usd: 0.1, ...more })).flat();
  return {
    sent: fates.filter((fate) => "from" in fate),
    refused: fates.filter((fate) => "refusedBy" in fate),
    failed: fates.filter((fate) => "failed" in fate),
  };
}

/** The most calls that were with the provider at one instant. */
function mostAtOnce(calls: readonly { from: number; to: number }[]): number {
  const turns = calls.flatMap(({ from, to }) => [[from, 1] as const, [to, -1] as const]);
  let now = 0;
  let most = 0;
  for (const [, step] of turns.sort(([a, up], [b, down]) => a - b || up - down)) most = Math.max(most, (now += step));
  return most;
}

describe(`${PROCESSES} processes with ${CALLS} parallel calls of $0.10 each`, { timeout: 60_000 }, () => {
  it("are given exactly 100 of $10", async () => {
    await open([["month", { maxUsd: 10 }]]);
    const { sent, refused, failed } = await burst({ ms: 5 });
    expect(failed).toEqual([]);
    expect(sent).toHaveLength(100);
    expect(refused).toHaveLength(PROCESSES * CALLS - 100);
    expect(await crew.all("standing")).toEqual(Array(PROCESSES).fill({ spentUsd: 10, heldUsd: 0 }));
  });

  const binding: { what: string; rules: readonly RuleSpec[]; expected: number; perUser: number; by: string }[] = [
    {
      what: "the month",
      rules: [
        ["user", { userBudgets: {}, defaultMaxUsd: 3 }],
        ["month", { maxUsd: 10 }],
        ["velocity", { maxRequests: 500, windowSeconds: 300 }],
      ],
      expected: 100,
      perUser: 30,
      by: "MonthlyBudgetRule",
    },
    {
      what: "each user's month",
      rules: [
        ["user", { userBudgets: { eve: 0.5 }, defaultMaxUsd: 2 }],
        ["month", { maxUsd: 10 }],
        ["velocity", { maxRequests: 500, windowSeconds: 300 }],
      ],
      expected: 85,
      perUser: 20,
      by: "PerUserBudgetRule",
    },
    {
      what: "the rate",
      rules: [
        ["user", { userBudgets: {}, defaultMaxUsd: 3 }],
        ["month", { maxUsd: 10 }],
        ["velocity", { maxRequests: 80, windowSeconds: 300 }],
      ],
      expected: 80,
      perUser: 30,
      by: "VelocityLimitRule",
    },
  ];

  it.each(binding)("with limits on user, month, rate and concurrency: $what binds, exactly", async (scene) => {
    const AT_ONCE = 10;
    await open([...scene.rules, ["concurrency", { maxConcurrent: AT_ONCE }]]);
    const { sent, refused, failed } = await burst({ ms: 5, users });
    expect(failed).toEqual([]);
    expect(sent).toHaveLength(scene.expected);
    expect(new Set(refused.map(({ refusedBy }) => refusedBy))).toContain(scene.by);
    expect(mostAtOnce(sent)).toBeLessThanOrEqual(AT_ONCE);
    expect(mostAtOnce(sent)).toBeGreaterThan(1);
    let total = 0;
    for (const user of users) {
      const own = sent.filter((fate) => fate.user === user).length;
      expect(own).toBeLessThanOrEqual(scene.perUser);
      const [seen] = await crew.all("standing", { user_id: user });
      expect(seen).toEqual({ spentUsd: own / 10, heldUsd: 0 });
      total += own;
    }
    expect(total).toBe(scene.expected);
  });
});

describe("a hold freed in one process", { timeout: 60_000 }, () => {
  it("is taken by a waiter in another within 250 ms at the median", async () => {
    await open([["month", { maxUsd: 1 }]]);
    const [owner, waiter] = crew.workers;
    const delays: number[] = [];
    for (let round = 0; round < 15; round++) {
      const { id } = await owner!.ask("authorize", { usd: 1 });
      const waiting = waiter!.ask("authorize", { usd: 1 });
      await sleep(100 + Math.random() * 250);
      const freed = await owner!.ask("release", { id });
      const taken = await waiting;
      expect(taken.at).toBeGreaterThan(freed.at);
      delays.push(taken.at - freed.at);
      await waiter!.ask("release", taken);
    }
    delays.sort((a, b) => a - b);
    expect(delays[7], delays.map(Math.round).join()).toBeLessThanOrEqual(250);
  });
});
