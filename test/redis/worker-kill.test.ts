import { afterAll, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { Worker } from "./crew.js";
import { freshNamespace, sleep, stage, standing, type Scene } from "./scene.js";

const LEASE_MS = 1_500;
const CALLS = 5;

/** A granule of the lease, and the time it takes on a busy machine to look. */
const LATE_MS = 2_000;

/** Workers take a second to start: they are all started at once. */
let workers: Worker[];
beforeAll(async () => {
  workers = [new Worker(), new Worker()];
  await Promise.all(workers.map((worker) => worker.ask("denied")));
}, 60_000);
afterAll(() => Promise.all(workers.map((worker) => worker.kill())));

const cases = [
  { onLeaseExpiry: "charge", spentUsd: 5, correctedUsd: 4.4 },
  { onLeaseExpiry: "release", spentUsd: 0, correctedUsd: 0.4 },
] as const;

describe.concurrent("a worker killed with SIGKILL while it holds", { timeout: 30_000 }, () => {
  it.each(cases)(
    "keeps its holds for the lease, then: $onLeaseExpiry; a late settle corrects that once",
    async (row) => {
      const scene: Scene = {
        url: inject("redisUrl"),
        namespace: freshNamespace(),
        rules: [
          ["month", { maxUsd: 5 }],
          ["concurrency", { maxConcurrent: CALLS }],
        ],
        options: { leaseMs: LEASE_MS, onLeaseExpiry: row.onLeaseExpiry },
      };
      await using staged = stage(scene);
      const { policy } = staged;
      const worker = workers.pop()!;
      await worker.ask("open", scene);
      const calls = [];
      for (let call = 0; call < CALLS; call++) calls.push(await worker.ask("authorize", { usd: 1 }));

      // Alive, it renews: the holds outlast their first lease.
      await sleep(1.5 * LEASE_MS);
      expect(await standing(policy)).toEqual({ spentUsd: 0, heldUsd: 5 });
      await worker.kill();
      const died = Date.now();
      expect(await standing(policy)).toEqual({ spentUsd: 0, heldUsd: 5 });

      const after = { spentUsd: row.spentUsd, heldUsd: 0 };
      await vi.waitFor(async () => expect(await standing(policy)).toEqual(after), LEASE_MS + LATE_MS);
      // Renewed when it was last alive: at most a third of the lease before.
      expect(Date.now() - died).toBeGreaterThan(LEASE_MS / 3);
      const rows = await policy.usage();
      expect(rows.find(({ measure }) => measure === "in-flight")).toMatchObject({ spentUsd: 0, heldUsd: 0 });

      const { ticket } = calls[0]!;
      expect(await policy.settle(ticket, { costUsd: 0.4 })).toMatchObject({ costUsd: 0.4 });
      expect(await standing(policy)).toEqual({ spentUsd: row.correctedUsd, heldUsd: 0 });
      expect(await policy.settle(ticket, { costUsd: 0.7 })).toMatchObject({ costUsd: 0, duplicate: true });
      expect(await standing(policy)).toEqual({ spentUsd: row.correctedUsd, heldUsd: 0 });
    },
  );
});
