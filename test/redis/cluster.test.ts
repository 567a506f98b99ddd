import { startCluster, type RedisCluster, type RedisServer } from "@driftlock/redis-server";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { costing, isRefused, parallel } from "../pitfalls/kit.js";
import { Crew } from "./crew.js";
import { Load } from "./load.js";
import { freshNamespace, sleep, stage, standing, type Scene } from "./scene.js";

const NAMESPACES = 12;
const ada = { user_id: "ada" };

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startCluster();
}, 60_000);
afterAll(() => cluster.stop());

function sceneOn(more: Partial<Scene> = {}): Scene {
  return {
    url: { rootNodes: [...cluster.rootNodes] },
    namespace: freshNamespace(),
    rules: [
      ["month", { maxUsd: 1 }],
      ["user", { userBudgets: {}, defaultMaxUsd: 0.8 }],
      ["velocity", { maxRequests: 50, windowSeconds: 60 }],
      ["concurrency", { maxConcurrent: 20 }],
    ],
    options: { storeTimeoutMs: 5_000 },
    ...more,
  };
}

/** Every key of the cluster with the slot it is in. */
async function slots(): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const node of cluster.nodes) {
    for (const key of (await node.command("KEYS", "*")) as string[]) {
      found.set(key, Number(await node.command("CLUSTER", "KEYSLOT", key)));
    }
  }
  return found;
}

/** Moves the slot of a namespace to the next node, key by key, as redis-cli does; answers that node. */
async function move(namespace: string): Promise<RedisServer> {
  const slotOf = async () => [...(await slots())].find(([key]) => key.includes(namespace))![1];
  const slot = String(await slotOf());
  const keysOf = async (node: RedisServer) =>
    (await node.command("CLUSTER", "GETKEYSINSLOT", slot, "1000")) as string[];
  const held = await Promise.all(cluster.nodes.map(keysOf));
  const at = held.findIndex((keys) => keys.length > 0);
  const from = cluster.nodes[at]!;
  const to = cluster.nodes[(at + 1) % cluster.nodes.length]!;
  const [fromId, toId] = await Promise.all([from, to].map((node) => node.command("CLUSTER", "MYID").then(String)));
  await to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId!);
  await from.command("CLUSTER", "SETSLOT", slot, "MIGRATING", toId!);
  for (let keys = await keysOf(from); keys.length > 0; keys = await keysOf(from)) {
    await from.command("MIGRATE", "127.0.0.1", String(to.port), "", "0", "5000", "KEYS", ...keys);
  }
  for (const node of [to, ...cluster.nodes]) await node.command("CLUSTER", "SETSLOT", slot, "NODE", toId!);
  return to;
}

describe("a Redis Cluster of three nodes", { timeout: 60_000 }, () => {
  it("holds limits exactly, whichever node has the namespace", async () => {
    const scenes = Array.from({ length: NAMESPACES }, () => sceneOn());
    for (const scene of scenes) {
      await using staged = stage(scene);
      expect(staged.policy.ledger.atomicity).toBe("all-processes");
      expect(await parallel(staged.policy, 100, 0.1)).toBe(10);
      expect(await standing(staged.policy)).toEqual({ spentUsd: 1, heldUsd: 0 });
    }
    const all = await slots();
    const used = new Set<number>();
    for (const { namespace } of scenes) {
      const own = new Set([...all].filter(([key]) => key.includes(namespace)).map(([, slot]) => slot));
      expect(own.size, `the slots of ${namespace}`).toBe(1);
      for (const slot of own) used.add(Math.floor((3 * slot) / 16_384));
    }
    expect(used).toEqual(new Set([0, 1, 2]));
  });

  it("keeps every operation in one slot: renewing, reading, recording, closing by ticket, operators", async () => {
    await using staged = stage(sceneOn({ options: { leaseMs: 300 } }));
    const { policy } = staged;
    const auth = await policy.authorize({ ...costing(0.5), labels: ada });
    await sleep(900);
    expect(await standing(policy)).toEqual({ spentUsd: 0, heldUsd: 0.5 });
    await policy.settle(auth.ticket, { costUsd: 0.3 });
    await policy.record({ id: "image", costUsd: 0.1, labels: ada });
    expect(await standing(policy)).toEqual({ spentUsd: 0.4, heldUsd: 0 });
    expect(await isRefused(policy.authorize({ ...costing(0.5), labels: ada }))).toBe(true);
    await policy.adjust("PerUserBudgetRule", { addUsd: 0.2, by: "grace", reason: "more" });
    await (await policy.authorize({ ...costing(0.5), labels: ada })).release();
    await policy.freeze({ by: "grace", reason: "enough" });
    expect(await isRefused(policy.authorize(costing(0.1)))).toBe(true);
  });

  it("is told its scripts again on every node", async () => {
    const scenes = Array.from({ length: NAMESPACES }, () => sceneOn());
    const staged = scenes.map(stage);
    for (const { policy } of staged) await (await policy.authorize(costing(0.1))).release();
    await Promise.all(cluster.nodes.map((node) => node.command("SCRIPT", "FLUSH")));
    for (const { policy } of staged) expect(await parallel(policy, 30, 0.1)).toBe(10);
    for (const each of staged) await each[Symbol.asyncDispose]();
  });

  it("counts every bill once while the namespace moves to another node and that node is killed", async () => {
    const scene = sceneOn({ rules: [["month", { maxUsd: 10_000 }]], options: {} });
    await using staged = stage(scene);
    await (await staged.policy.authorize(costing(0.1))).release();
    const load = new Load(staged.policy);
    await sleep(300);
    const node = await move(scene.namespace);
    await sleep(300);
    await node.kill();
    await sleep(700);
    await node.restart();
    await expect.poll(() => node.command("CLUSTER", "INFO").then(String), { timeout: 10_000 }).toContain("state:ok");
    const { calls } = load;
    await expect.poll(() => load.calls, { timeout: 10_000 }).toBeGreaterThan(calls + 100);
    await load.stop();
    await staged.policy.close();
    await using witness = stage(scene);
    expect(await standing(witness.policy)).toEqual({ spentUsd: load.billed / 100, heldUsd: 0 });
  });

  it("is one ledger for several processes", async () => {
    await using crew = new Crew(2);
    const scene = sceneOn();
    await crew.open(scene);
    const fates = (await crew.all("burst", { calls: 50, usd: 0.1, ms: 5 })).flat();
    expect(fates.filter((fate) => "from" in fate)).toHaveLength(10);
    expect(fates.filter((fate) => "failed" in fate)).toEqual([]);
    expect(await crew.all("standing")).toEqual(Array(2).fill({ spentUsd: 1, heldUsd: 0 }));
  });
});
