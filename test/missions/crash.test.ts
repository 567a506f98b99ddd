import { Keyv } from "keyv";
import { describe, expect, it } from "vitest";
import { DirectoryStore } from "../faults/directory-store.js";
import { start } from "../faults/processes.js";
import { temporaryDirectory } from "../faults/temporary.js";
import { LEASE_MS, outcome, steps, world } from "./plan.js";

const POINTS = 24;

class CountingStore extends DirectoryStore {
  writes = 0;

  override async set(key: string, value: string): Promise<boolean> {
    this.writes++;
    return super.set(key, value);
  }
}

/** Plays the plan from a step on, in this process. */
async function play(store: DirectoryStore, from: number) {
  const here = world(new Keyv({ store }));
  // What was under way is charged at its estimate when its lease is over; leases end by the second.
  if (from > 0) await new Promise((resolve) => setTimeout(resolve, LEASE_MS + 1_050));
  for (const step of steps.slice(from)) await step(here);
  const stands = await outcome(here);
  await here.policy.close();
  return stands;
}

/** Plays it in a process that dies at its `lives`-th write; answers how many steps it said to have done. */
async function crashed(directory: string, lives: number): Promise<number> {
  const worker = start(new URL("./crash-worker.ts", import.meta.url), directory, String(lives));
  let said = "";
  worker.stdout!.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const signal = await new Promise((resolve) => worker.on("close", (_, by) => resolve(by)));
  expect(signal).toBe("SIGKILL");
  return said.split("\n").length - 1;
}

describe("a run with nested missions, killed with SIGKILL and continued in another process", () => {
  it(`ends as its uncrashed twin, at each of ${POINTS} points`, { timeout: 300_000 }, async () => {
    const store = new CountingStore(temporaryDirectory());
    const twin = await play(store, 0);
    const { writes } = store;
    expect(twin.map(({ id, status, totalCostUsd }) => [id, status, totalCostUsd])).toEqual([
      ["root", "killed", 0.75],
      ["a", "completed", 0.2],
      ["b", "killed", 0.1],
    ]);
    expect(writes).toBeGreaterThan(5 * POINTS);
    const points = Array.from({ length: POINTS }, (_, i) => 1 + Math.floor((i * (writes - 20)) / POINTS));
    const died: number[] = [];
    const next = points.values();
    const many = async () => {
      for (const lives of next) {
        const directory = temporaryDirectory();
        const done = await crashed(directory, lives);
        died.push(done);
        expect(await play(new DirectoryStore(directory), done), `dead at write ${lives}, after step ${done}`).toEqual(
          twin,
        );
      }
    };
    await Promise.all([many(), many()]);
    expect(new Set(died).size, "the deaths are spread over the plan").toBeGreaterThan(8);
  });
});
