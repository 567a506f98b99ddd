import { StoreError } from "@driftlock/core";
import { startRedis } from "@driftlock/redis-server";
import { describe, expect, it } from "vitest";
import { costing } from "../pitfalls/kit.js";
import { freshNamespace, sleep, stage, standing } from "./scene.js";

const LEASE_MS = 1_000;
/** Goes far over the limit in one step, which a plain command cannot: memory goes up and down a little by itself. */
const FILL = "#!lua flags=allow-oom\nredis.call('SET', KEYS[1], string.rep('x', 8e6))";

describe("Redis at its maxmemory with noeviction", { timeout: 30_000 }, () => {
  it("settles, releases and renews the calls under way, and refuses new ones until there is room", async () => {
    await using redis = await startRedis({ maxMemory: "6mb", appendOnly: "everysec" });
    const scene = {
      url: redis.url,
      namespace: freshNamespace(),
      rules: [["month", { maxUsd: 100 }]],
      options: { leaseMs: LEASE_MS },
    } as const;
    await using staged = stage(scene);
    const { policy } = staged;
    const [settled, released, kept] = await Promise.all([1, 2, 4].map((usd) => policy.authorize(costing(usd))));
    await redis.command("EVAL", FILL, "1", "junk");

    await expect(policy.authorize(costing(1))).rejects.toThrow(StoreError);
    expect(await settled!.settle({ costUsd: 0.7 })).not.toHaveProperty("pending");
    await released!.release();
    expect(await standing(policy)).toEqual({ spentUsd: 0.7, heldUsd: 4 });
    await sleep(1.5 * LEASE_MS);
    expect(await standing(policy)).toEqual({ spentUsd: 0.7, heldUsd: 4 });
    await expect(policy.authorize(costing(1))).rejects.toThrow(StoreError);

    await redis.command("DEL", "junk");
    await (await policy.authorize(costing(1))).settle({ costUsd: 0.2 });
    await kept!.settle({ costUsd: 3 });
    await expect.poll(() => standing(policy)).toEqual({ spentUsd: 3.9, heldUsd: 0 });
  });
});
