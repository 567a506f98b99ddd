import { KeyvLedger } from "@driftlock/core";
import { Keyv } from "keyv";
import { describe, expect, it } from "vitest";
import { agreed, BOUND } from "./calls.js";
import { DirectoryStore } from "./directory-store.js";
import { start } from "./processes.js";
import { temporaryDirectory } from "./temporary.js";
import type { Line } from "./worker.js";

const KILLS = 20;

/** Lets a worker run for `ms` after its first acknowledgement, kills it with SIGKILL, and answers all it has said. */
async function killed(directory: string, ms: number): Promise<Line[]> {
  const worker = start(new URL("./worker.ts", import.meta.url), directory);
  let said = "";
  const ended = new Promise<NodeJS.Signals | null>((resolve) => worker.on("close", (_, signal) => resolve(signal)));
  await new Promise<void>((resolve, reject) => {
    void ended.then((signal) => reject(new Error(`the worker ended by itself (${signal})`)));
    worker.stdout!.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes('"settled"')) resolve();
    });
  });
  await new Promise((resolve) => setTimeout(resolve, ms));
  worker.kill("SIGKILL");
  expect(await ended).toBe("SIGKILL");
  return said
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
}

describe("a process killed with SIGKILL in the midst of its commits", () => {
  it("leaves every commit whole or absent, and loses nothing that was acknowledged", { timeout: 180_000 }, async () => {
    const directory = temporaryDirectory();
    const asked = new Map<string, number>();
    const reserved = new Set<string>();
    const settled = new Map<string, number>();
    const perhaps = new Set<string>();
    for (let kill = 0; kill < KILLS; kill++) {
      for (const line of await killed(directory, Math.random() * 60)) {
        if (line.say === "asking-reserve") perhaps.add(line.id);
        else if (line.say === "reserved") reserved.add(line.id);
        else if (line.say === "asking-settle") asked.set(line.id, line.usd);
        else settled.set(line.id, line.usd);
      }
      const ledger = new KeyvLedger(new Keyv({ store: new DirectoryStore(directory) }));
      const recorded = await agreed(ledger);

      const sum = (usds: Iterable<number>) => [...usds].reduce((total, usd) => total + usd, 0);
      const inFlight = [...asked].filter(([id]) => !settled.has(id));
      expect(recorded.settled).toBeGreaterThanOrEqual(sum(settled.values()));
      expect(recorded.settled).toBeLessThanOrEqual(sum(settled.values()) + sum(inFlight.map(([, usd]) => usd)));
      const open = [...reserved].filter((id) => !asked.has(id)).length;
      const maybeOpen = [...perhaps].filter((id) => !settled.has(id)).length;
      expect(recorded.held).toBeGreaterThanOrEqual(open * BOUND);
      expect(recorded.held).toBeLessThanOrEqual(maybeOpen * BOUND);
      expect(recorded.held % BOUND).toBe(0);
    }
    expect(settled.size).toBeGreaterThan(KILLS);
  });
});
