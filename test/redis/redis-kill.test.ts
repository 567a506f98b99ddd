import type { PolicyEngine } from "@driftlock/core";
import { startRedis, type RedisServer } from "@driftlock/redis-server";
import { readdir, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { costing } from "../pitfalls/kit.js";
import { Load } from "./load.js";
import { freshNamespace, sleep, stage, standing, type Scene } from "./scene.js";

function sceneOn(redis: RedisServer, options: Scene["options"] = {}): Scene {
  return { url: redis.url, namespace: freshNamespace(), rules: [["month", { maxUsd: 10_000 }]], options };
}

/** Waits until the load has made some more calls. */
async function some(load: Load): Promise<void> {
  const { calls } = load;
  await vi.waitFor(() => expect(load.calls).toBeGreaterThan(calls + 50), 10_000);
}

const cents = async (policy: PolicyEngine) => Math.round((await standing(policy)).spentUsd * 100);

describe.concurrent("Redis killed with SIGKILL in the midst of calls, and started again", { timeout: 60_000 }, () => {
  it("with appendfsync always has every acknowledged settle, and in the end every bill once", async () => {
    await using redis = await startRedis({ appendOnly: "always" });
    const scene = sceneOn(redis);
    await using staged = stage(scene);
    const load = new Load(staged.policy);
    for (let kill = 0; kill < 2; kill++) {
      await some(load);
      await redis.kill();
      const { acknowledged } = load;
      // Longer than a call is kept waiting for the store.
      await sleep(700);
      await redis.restart();
      await using witness = stage(scene);
      expect(await cents(witness.policy)).toBeGreaterThanOrEqual(acknowledged);
    }
    await some(load);
    await load.stop();
    expect(load.storeErrors).toBeGreaterThan(0);
    await staged.policy.close();
    await using witness = stage(scene);
    expect(await standing(witness.policy)).toEqual({ spentUsd: load.billed / 100, heldUsd: 0 });
  });

  // It answers before it has written when the disk is behind, for two seconds at most; on a quick disk nothing is lost.
  it("with appendfsync everysec has every settle acknowledged more than two seconds before", async () => {
    await using redis = await startRedis({ appendOnly: "everysec" });
    const scene = sceneOn(redis, { leaseMs: 3_000 });
    await using staged = stage(scene);
    const first = new Load(staged.policy);
    await some(first);
    await first.stop();
    await sleep(2_100);
    const last = new Load(staged.policy);
    await some(last);
    await redis.kill();
    const acknowledged = first.billed + last.acknowledged;
    await redis.restart();
    await using witness = stage(scene);
    const kept = await cents(witness.policy);
    expect(kept).toBeGreaterThanOrEqual(first.billed);
    if (kept < acknowledged) console.warn(`everysec has lost ${acknowledged - kept} of ${acknowledged} cents`);
    await last.stop();
    await staged.policy.close();
    await vi.waitFor(async () => expect((await standing(witness.policy)).heldUsd).toBe(0), 10_000);
  });
});

/** With appendfsync everysec a machine that stops takes about a second along: what it had written is cut off here. */
describe.concurrent("a journal that lost its end with the machine", { timeout: 30_000 }, () => {
  it("has lost the calls that began in it; calls that began before are charged at their bound", async () => {
    await using redis = await startRedis({ appendOnly: "always" });
    const scene = sceneOn(redis, { leaseMs: 3_000 });
    await using staged = stage(scene);
    const { policy } = staged;
    const before = await policy.authorize(costing(1));
    const journal = await journalOf(redis);

    await before.settle({ costUsd: 0.4 });
    await (await policy.authorize(costing(1))).settle({ costUsd: 0.2 });
    const open = await policy.authorize(costing(1));
    expect(await standing(policy)).toEqual({ spentUsd: 0.6, heldUsd: 1 });
    await redis.kill();
    await truncate(journal.path, journal.size);
    await redis.restart();

    await using witness = stage(scene);
    expect(await standing(witness.policy)).toEqual({ spentUsd: 0, heldUsd: 1 });
    // Settled calls are forgotten, so one of its own that the ledger does not know counts as settled.
    expect(await open.settle({ costUsd: 0.3 })).toMatchObject({ duplicate: true });
    await vi.waitFor(async () => expect(await standing(witness.policy)).toEqual({ spentUsd: 1, heldUsd: 0 }), 10_000);
  });
});

/** The file that Redis appends to, and how long it is now. */
async function journalOf({ directory }: RedisServer): Promise<{ path: string; size: number }> {
  const folder = join(directory, "appendonlydir");
  const name = (await readdir(folder)).find((file) => file.endsWith(".incr.aof"))!;
  const path = join(folder, name);
  return { path, size: (await stat(path)).size };
}
