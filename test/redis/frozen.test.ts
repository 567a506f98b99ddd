import { StoreError, type PolicyEngineOptions } from "@driftlock/core";
import { startRedis, type RedisServer } from "@driftlock/redis-server";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { costing } from "../pitfalls/kit.js";
import { Worker } from "./crew.js";
import { freshNamespace, sleep, stage, standing, type Scene, type Staged } from "./scene.js";

const CALLS = 100;
const FROZEN_MS = 5_000;
const STORE_TIMEOUT_MS = 500;
/** What a busy machine with two cores may take on top. */
const SLACK_MS = 1_500;

type OnFailure = PolicyEngineOptions["onStoreFailure"];

/** What a policy did with 100 parallel calls of $0.10 while Redis was frozen. */
class Trial {
  readonly staged: Staged;
  sent = 0;
  readonly errors: unknown[] = [];
  slowestMs = 0;

  constructor(redis: RedisServer, onStoreFailure: OnFailure) {
    this.staged = stage(sceneOn(redis, onStoreFailure));
  }

  async run(): Promise<void> {
    const began = performance.now();
    await Promise.all(
      Array.from({ length: CALLS }, async () => {
        try {
          await this.staged.policy.authorize(costing(0.1)).then(async (auth) => {
            this.#admitted(began);
            this.sent++;
            await auth.settle({ costUsd: 0.1 });
          });
        } catch (error) {
          this.#admitted(began);
          this.errors.push(error);
        }
      }),
    );
  }

  #admitted(began: number): void {
    this.slowestMs = Math.max(this.slowestMs, performance.now() - began);
  }
}

function sceneOn({ url }: RedisServer, onStoreFailure: OnFailure): Scene {
  const rules: Scene["rules"] = [
    ["month", { maxUsd: 1_000 }],
    ["concurrency", { maxConcurrent: 500 }],
  ];
  return { url, namespace: freshNamespace(), rules, options: { storeTimeoutMs: STORE_TIMEOUT_MS, onStoreFailure } };
}

/** One freeze for all: it is long. */
let redis: RedisServer;
let deny: Trial;
let allow: Trial;
let bounded: Trial;
let orphaned: Staged;
let underWay: Awaited<ReturnType<Staged["policy"]["authorize"]>>;

beforeAll(async () => {
  redis = await startRedis({ appendOnly: "everysec" });
  deny = new Trial(redis, "deny");
  allow = new Trial(redis, "allow");
  bounded = new Trial(redis, { localMaxUsd: 2 });
  const scene = sceneOn(redis, "deny");
  orphaned = stage(scene);
  await using worker = new Worker();
  await worker.ask("open", scene);
  // Everybody has a connection, and knows Redis' time and scripts.
  await worker.ask("burst", { calls: 1, usd: 0.1, ms: 0 });
  for (const { staged } of [deny, allow, bounded]) await (await staged.policy.authorize(costing(1))).release();
  underWay = await deny.staged.policy.authorize(costing(0.2));

  redis.freeze();
  const thawed = sleep(FROZEN_MS).then(() => redis.thaw());
  const [fates] = await Promise.all([
    worker.ask("burst", { calls: CALLS, usd: 0.1, ms: 0 }),
    ...[deny, allow, bounded].map((trial) => trial.run()),
  ]);
  expect(fates.every((fate) => "failed" in fate && fate.failed.includes("StoreError"))).toBe(true);
  // It goes before Redis is back: nobody is left to release what its calls might hold.
  await worker.kill();
  await thawed;
}, 60_000);

afterAll(async () => {
  for (const { staged } of [deny, allow, bounded]) await staged[Symbol.asyncDispose]();
  await orphaned[Symbol.asyncDispose]();
  await redis.stop();
});

describe(`Redis frozen for ${FROZEN_MS} ms under ${CALLS} parallel calls`, () => {
  it('refuses them all with StoreError within storeTimeoutMs under "deny", and they hold nothing afterwards', async () => {
    expect(deny.sent).toBe(0);
    expect(deny.errors).toHaveLength(CALLS);
    expect(deny.errors.every((error) => StoreError.isInstance(error))).toBe(true);
    expect(deny.slowestMs).toBeLessThan(STORE_TIMEOUT_MS + SLACK_MS);
    await expect.poll(() => standing(deny.staged.policy)).toEqual({ spentUsd: 0, heldUsd: 0.2 });
  });

  it("holds nothing for the calls of a process that has died since: their reserves came too late", async () => {
    expect(await standing(orphaned.policy)).toEqual({ spentUsd: 0.1, heldUsd: 0 });
    await sleep(300);
    expect(await standing(orphaned.policy)).toEqual({ spentUsd: 0.1, heldUsd: 0 });
  });

  it('lets them all go under "allow", and accounts for them on return', async () => {
    expect(allow.errors).toEqual([]);
    expect(allow.sent).toBe(CALLS);
    await expect
      .poll(() => standing(allow.staged.policy), { timeout: 10_000 })
      .toEqual({ spentUsd: CALLS / 10, heldUsd: 0 });
  });

  it("lets as many go as localMaxUsd pays for, and accounts for them on return", async () => {
    expect(bounded.sent).toBe(20);
    expect(bounded.errors).toHaveLength(CALLS - 20);
    expect(bounded.errors.every((error) => StoreError.isInstance(error))).toBe(true);
    await expect.poll(() => standing(bounded.staged.policy), { timeout: 10_000 }).toEqual({ spentUsd: 2, heldUsd: 0 });
  });

  it("leaves no slot taken, and calls under way can be settled", async () => {
    for (const { staged } of [allow, bounded]) expect(await slots(staged)).toBe(0);
    expect(await slots(deny.staged)).toBe(1);
    expect(await underWay.settle({ costUsd: 0.15 })).not.toHaveProperty("pending");
    expect(await standing(deny.staged.policy)).toEqual({ spentUsd: 0.15, heldUsd: 0 });
  });
});

async function slots({ policy }: Staged): Promise<number> {
  const rows = await policy.usage();
  return rows.find(({ measure }) => measure === "in-flight")!.heldUsd;
}
