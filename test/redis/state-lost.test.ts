import { StateLostError, type PolicyEngine } from "@driftlock/core";
import { startRedis, type RedisServer } from "@driftlock/redis-server";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { costing } from "../pitfalls/kit.js";
import { Load } from "./load.js";
import { freshNamespace, sleep, stage, standing, type Scene } from "./scene.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ appendOnly: "always" });
}, 60_000);
afterAll(() => redis.stop());

const sceneOn = (): Scene => ({
  url: redis.url,
  namespace: freshNamespace(),
  rules: [["month", { maxUsd: 100 }]],
});

async function spend(policy: PolicyEngine, usd: number): Promise<void> {
  await (await policy.authorize(costing(usd))).settle({ costUsd: usd });
}

/** Commands that wait for the connection come through once it is back. */
async function answers(policy: PolicyEngine): Promise<void> {
  await expect
    .poll(() => policy.usage().then(String, (error: Error) => StateLostError.isInstance(error) || error), {
      timeout: 10_000,
    })
    .toBe(true);
}

describe("Redis that has lost its data", { timeout: 30_000 }, () => {
  const losses: [string, () => Promise<unknown>][] = [
    ["by FLUSHALL", () => redis.command("FLUSHALL")],
    ["in a restart without data", () => redis.restart("drop")],
  ];

  it.each(losses)("%s is StateLostError until the loss is accepted, and not 'nothing spent'", async (_, lose) => {
    const scene = sceneOn();
    await using first = stage(scene);
    await using second = stage(scene);
    await spend(first.policy, 7);
    await spend(second.policy, 8);
    const open = await first.policy.authorize(costing(1));
    await lose();
    for (const { policy } of [first, second]) {
      await answers(policy);
      await expect(policy.authorize(costing(1))).rejects.toThrow(StateLostError);
      await expect(policy.usage()).rejects.toThrow(StateLostError);
    }

    await first.policy.acceptLoss();
    expect(await standing(first.policy)).toEqual({ spentUsd: 0, heldUsd: 0 });
    await spend(first.policy, 2);
    // Every process accepts for itself, and joins the new life.
    await expect(second.policy.authorize(costing(1))).rejects.toThrow(StateLostError);
    await second.policy.acceptLoss();
    expect(await standing(second.policy)).toEqual({ spentUsd: 2, heldUsd: 0 });
    // The money of a call of the life before is not forgotten.
    await open.settle({ costUsd: 0.5 });
    expect(await standing(second.policy)).toEqual({ spentUsd: 2.5, heldUsd: 0 });
  });

  it("keeps the answer of a call that was under way, and its money for after the loss is accepted", async () => {
    await using staged = stage(sceneOn());
    const { policy } = staged;
    const open = await policy.authorize(costing(1));
    await redis.command("FLUSHALL");
    expect(await open.settle({ costUsd: 0.4 })).toMatchObject({ costUsd: 0.4, pending: true });
    await policy.acceptLoss();
    await expect.poll(() => standing(policy), { timeout: 10_000 }).toEqual({ spentUsd: 0.4, heldUsd: 0 });
  });
});

describe("Redis that has lost its scripts", { timeout: 30_000 }, () => {
  it("is told them again: no call notices", async () => {
    await using staged = stage(sceneOn());
    const { policy } = staged;
    const load = new Load(policy);
    for (let flush = 0; flush < 20; flush++) {
      await sleep(30);
      await redis.command("SCRIPT", "FLUSH");
    }
    await load.stop();
    expect(load).toMatchObject({ storeErrors: 0 });
    expect(load.calls).toBeGreaterThan(100);
    // Accounts far over the limit are refused, so the limit was at work all the time.
    expect(await standing(policy)).toEqual({ spentUsd: load.billed / 100, heldUsd: 0 });
  });
});
