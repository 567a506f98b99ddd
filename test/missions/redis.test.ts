import KeyvRedis from "@keyv/redis";
import { Keyv } from "keyv";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { start } from "../faults/processes.js";
import { LEASE_MS, outcome, steps, watchOperations, world } from "./plan.js";

const url = inject("redisUrl");

/** A policy with missions on the shared Redis, in a namespace of its own. */
function onRedis(namespace = crypto.randomUUID(), leaseMs = 60_000) {
  const store = new KeyvRedis(url);
  const here = world(new Keyv({ store }), { namespace, leaseMs });
  onTestFinished(async () => {
    await here.policy.close();
    await store.disconnect();
  });
  return { ...here, namespace };
}

interface Said {
  readonly sent: number;
  readonly status: string;
  readonly refusals: readonly string[];
}

async function attached(namespace: string, id: string): Promise<Said> {
  const worker = start(new URL("./redis-worker.ts", import.meta.url), url, namespace, id);
  let said = "";
  worker.stdout!.on("data", (chunk: Buffer) => (said += chunk.toString()));
  expect(await new Promise((resolve) => worker.on("close", resolve))).toBe(0);
  return JSON.parse(said) as Said;
}

describe("four processes attached to one mission of $1 on Redis", () => {
  it("send exactly 20 of 200 calls of $0.05, and all know that it was killed", { timeout: 60_000 }, async () => {
    const { missions, namespace } = onRedis();
    const m = await missions.start({ name: "shared", missionId: "m", budgetUsd: 1 });
    const said = await Promise.all([1, 2, 3, 4].map(() => attached(namespace, "m")));
    expect(said.reduce((sum, { sent }) => sum + sent, 0)).toBe(20);
    for (const { refusals, status } of said) expect([refusals, status]).toEqual([["kill"], "killed"]);
    await m.refresh();
    expect([m.spent, m.callCount, m.status]).toEqual([1, 20, "killed"]);
    const { totalCostUsd, unattributedUsd, models } = await missions.stats("m");
    expect([totalCostUsd, unattributedUsd, models.length]).toEqual([1, 0, 1]);
    await m.end();
  });
});

describe("a mission on Redis", () => {
  it("ends as one in memory does", async () => {
    const [redis, memory] = [onRedis(), world(new Keyv())];
    for (const step of steps) {
      await step(redis);
      await step(memory);
    }
    expect(await outcome(redis)).toEqual(await outcome(memory));
  });

  it("adds no round trip to a call, also nested", async () => {
    const { missions, policy } = onRedis();
    const asked: string[] = [];
    const { ledger } = policy;
    for (const operation of ["reserve", "settle", "read", "amend", "check"] as const) {
      const own = ledger[operation].bind(ledger) as (...given: unknown[]) => never;
      ledger[operation] = (...given: unknown[]) => {
        asked.push(operation);
        return own(...given);
      };
    }
    const inner = async () => {
      asked.length = 0;
      for (let i = 0; i < 5; i++) {
        const auth = await policy.authorize({ model: "c5", inputTokens: 0, maxOutputTokens: 1_000 });
        await auth.settle({ inputTokens: 0, outputTokens: 1_000 });
      }
      return [...asked];
    };
    const made = await missions.run({ name: "outer", budgetUsd: 5 }, () =>
      missions.run({ name: "inner", budgetUsd: 5, onExceed: "downgrade", downgradeTo: "c3" }, inner),
    );
    expect(made).toEqual(Array.from({ length: 5 }, () => ["reserve", "settle"]).flat());
  });
});

describe("a pause on Redis", () => {
  it("lets the waiting run go on where it stopped, soon after another process has raised it", async () => {
    const here = onRedis();
    const there = onRedis(here.namespace);
    const call = async () =>
      (await here.policy.authorize({ model: "c5", inputTokens: 0, maxOutputTokens: 1_000 })).settle();
    let raisedAt = 0;
    setTimeout(() => {
      void there.missions
        .raise("m", { addUsd: 0.05, by: "ada", approvalId: "1" })
        .then(() => (raisedAt = performance.now()));
    }, 300);
    const options = { name: "m", missionId: "m", budgetUsd: 0.1, onExceed: "pause", onPause: "wait" } as const;
    await here.missions.run(options, async (m) => {
      for (let i = 0; i < 3; i++) await call();
      expect(raisedAt).toBeGreaterThan(0);
      expect(performance.now() - raisedAt).toBeLessThan(1_000);
      expect(m.events.map(({ action, by }) => [action, by])).toContainEqual(["raise", "ada"]);
    });
  });
});

describe("a run on Redis, killed with SIGKILL and continued in another process", () => {
  it("ends as its uncrashed twin, at each of 20 points", { timeout: 120_000 }, async () => {
    const twin = onRedis(undefined, LEASE_MS);
    let operations = 0;
    watchOperations(twin, (asked, ask) => {
      operations = asked;
      return ask();
    });
    for (const step of steps) await step(twin);
    const points = Array.from({ length: 20 }, (_, i) => 2 + Math.floor((i * (operations - 6)) / 20)).values();
    const expected = await outcome(twin);
    const died = new Set<number>();
    const many = async () => {
      for (const lives of points) {
        const namespace = crypto.randomUUID();
        const worker = start(new URL("./redis-crash-worker.ts", import.meta.url), url, namespace, String(lives));
        let said = "";
        worker.stdout!.on("data", (chunk: Buffer) => (said += chunk.toString()));
        expect(await new Promise((resolve) => worker.on("close", (_, signal) => resolve(signal)))).toBe("SIGKILL");
        const done = said.split("\n").length - 1;
        died.add(done);
        await new Promise((resolve) => setTimeout(resolve, LEASE_MS + 1_050));
        const here = onRedis(namespace, LEASE_MS);
        for (const step of steps.slice(done)) await step(here);
        expect(await outcome(here), `dead at operation ${lives}, after step ${done}`).toEqual(expected);
      }
    };
    await Promise.all([many(), many()]);
    expect(died.size).toBeGreaterThan(6);
  });
});
