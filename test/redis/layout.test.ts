import { StateLostError, StoreError } from "@driftlock/core";
import { startRedis, type RedisServer } from "@driftlock/redis-server";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { costing } from "../pitfalls/kit.js";
import { freshNamespace, stage, standing, type Scene } from "./scene.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ appendOnly: "everysec" });
}, 60_000);
afterAll(() => redis.stop());

/** Everything in Redis, as it is stored. */
async function stored(): Promise<Record<string, unknown>> {
  const keys = (await redis.command("KEYS", "*")) as string[];
  const entries = keys.sort().map(async (key) => [key, await redis.command("DUMP", key)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

describe("a namespace that another version keeps in another layout", () => {
  it("is neither read nor changed, and its loss cannot be accepted: both versions say so", async () => {
    const scene: Scene = { url: redis.url, namespace: freshNamespace(), rules: [["month", { maxUsd: 10 }]] };
    await using former = stage(scene);
    const open = await former.policy.authorize(costing(1));
    const keys = (await redis.command("KEYS", "*")) as string[];
    const head = keys.find((key) => key.endsWith("head"))!;
    const own = String(await redis.command("GET", head));
    const layout = Number(/^\d+/.exec(own)![0]) + 1;
    await redis.command("SET", head, own.replace(/^\d+/, String(layout)));
    const before = await stored();

    await using later = stage(scene);
    for (const { policy } of [former, later]) {
      for (const act of [() => policy.authorize(costing(1)), () => policy.usage(), () => policy.acceptLoss()]) {
        const error = await act().catch((thrown: unknown) => thrown);
        expect(StoreError.isInstance(error) && !StateLostError.isInstance(error)).toBe(true);
        expect(String(error)).toContain(`layout ${layout}`);
      }
    }
    expect(await open.settle({ costUsd: 0.4 })).toMatchObject({ pending: true });
    expect(await stored()).toEqual(before);

    // Rolled back, it goes on where it was, with the settle that had to wait.
    await redis.command("SET", head, own);
    await expect
      .poll(() => standing(later.policy).catch(String), { timeout: 5_000 })
      .toEqual({ spentUsd: 0.4, heldUsd: 0 });
  });
});
