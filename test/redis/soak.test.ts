import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { startRedis, type RedisServer } from "@driftlock/redis-server";
import { describe, expect, it } from "vitest";
import { StoreError } from "@driftlock/core";
import { start } from "../faults/processes.js";
import { temporaryDirectory } from "../faults/temporary.js";
import { freshNamespace, sleep, stage, standing, type Scene } from "./scene.js";
import { SoakBook } from "./soak-book.js";
import type { SoakOrder } from "./soak-worker.js";

/** Reserves and closes in all. DRIFTLOCK_SOAK sets another size. */
const OPERATIONS = Number(process.env.DRIFTLOCK_SOAK ?? 100_000);
const PROCESSES = 4;
const AT_ONCE = 8;
const SLOTS = PROCESSES * AT_ONCE - 4;
/** A worker dies, or all connections do. */
const KILL_EVERY_MS = 2_000;
const LEASE_MS = 3_000;

/** Towards the end all users together want more than they may spend, and they may spend more than the workspace: every limit binds. */
const USERS = Math.ceil(OPERATIONS / 400);
const USER_USD = 5;
const TOTAL_USD = Math.floor(USERS * USER_USD * 0.95);

function sceneOn({ url }: RedisServer): Scene {
  return {
    url,
    namespace: freshNamespace(),
    rules: [
      ["budget", { name: "Total", maxUsd: TOTAL_USD, per: "lifetime" }],
      ["budget", { name: "User", maxUsd: USER_USD, per: "lifetime", scope: "user" }],
      ["concurrency", { maxConcurrent: SLOTS }],
    ],
    options: { leaseMs: LEASE_MS, storeTimeoutMs: 5_000, waitMs: 1_000 },
  };
}

class Soak {
  readonly book = new SoakBook(USERS);
  kills = 0;
  readonly #scene: Scene;
  readonly #directory = temporaryDirectory();
  readonly #running = new Set<ReturnType<typeof start>>();
  #logs = 0;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  /** Runs one worker after the other until they have asked for so many operations together. */
  async shift(operations: number): Promise<void> {
    while (operations > 0) {
      const log = join(this.#directory, String(this.#logs++));
      const order: SoakOrder = { scene: this.#scene, log, operations, atOnce: AT_ONCE, users: USERS };
      const worker = start(new URL("./soak-worker.ts", import.meta.url), JSON.stringify(order));
      this.#running.add(worker);
      const [code, signal] = await new Promise<unknown[]>((resolve) => worker.on("exit", (...end) => resolve(end)));
      this.#running.delete(worker);
      if (code !== 0 && signal !== "SIGKILL") throw new Error(`a worker failed (${String(signal ?? code)})`);
      operations -= this.book.add(await readFile(log, "utf8").catch(() => ""));
    }
  }

  kill(): void {
    const workers = [...this.#running];
    const victim = workers[Math.floor(Math.random() * workers.length)];
    if (victim?.kill("SIGKILL")) this.kills++;
  }
}

describe(`${OPERATIONS} operations from ${PROCESSES} processes with random kills`, { timeout: 600_000 }, () => {
  it("never pass a limit, and leave no hold", async () => {
    await using redis = await startRedis({ appendOnly: "everysec" });
    const scene = sceneOn(redis);
    await using witness = stage(scene);
    const { policy } = witness;
    const soak = new Soak(scene);
    let isOver = false;
    let looks = 0;
    const watch = async () => {
      for (; !isOver; await sleep(50)) {
        const rows = await policy.usage().catch((error: unknown) => {
          if (!StoreError.isInstance(error)) throw error;
        });
        if (rows === undefined) continue;
        const [total, slots] = rows;
        expect(total!.spentUsd + total!.heldUsd).toBeLessThanOrEqual(TOTAL_USD);
        expect(slots!.heldUsd).toBeLessThanOrEqual(SLOTS);
        looks++;
      }
    };
    const murder = async () => {
      for (await sleep(2_000); !isOver; await sleep(KILL_EVERY_MS * Math.random() * 2)) {
        if (Math.random() < 0.7) soak.kill();
        else await redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      }
    };
    const each = OPERATIONS / PROCESSES;
    const others = [watch(), murder()];
    await Promise.all(Array.from({ length: PROCESSES }, () => soak.shift(each))).finally(() => (isOver = true));
    await Promise.all(others);

    const free = async () => (await policy.usage()).map(({ heldUsd }) => heldUsd);
    await expect.poll(free, { timeout: 2 * LEASE_MS }).toEqual([0, 0]);
    let cents = 0;
    for (const [user, { least, most }] of soak.book.users.entries()) {
      const rows = await policy.usage({ labels: { user_id: `user-${user}` } });
      const { spentUsd, heldUsd } = rows[1]!;
      expect(heldUsd).toBe(0);
      const spent = Math.round(spentUsd * 100);
      expect(spent, `user ${user}`).toBeGreaterThanOrEqual(least);
      expect(spent, `user ${user}`).toBeLessThanOrEqual(Math.min(most, USER_USD * 100));
      cents += spent;
    }
    expect(await standing(policy)).toEqual({ spentUsd: cents / 100, heldUsd: 0 });
    expect(cents).toBeLessThanOrEqual(TOTAL_USD * 100);

    const { operations, counts } = soak.book;
    expect(operations).toBeGreaterThanOrEqual(OPERATIONS);
    // There was something to look at: limits that refuse, workers killed in the midst of calls, looks at the whole in between.
    expect(counts.closed).toBeGreaterThan(OPERATIONS / 4);
    expect(counts.refused).toBeGreaterThan(0);
    expect(soak.kills).toBeGreaterThan(0);
    expect(counts.brokenOff).toBeGreaterThan(0);
    expect(looks).toBeGreaterThan(10);
  });
});
