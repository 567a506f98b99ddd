/** A process dies in the middle of a run; another one continues it, with the same totals. Needs a Redis: REDIS_URL. */
import { PolicyEngine } from "@driftlock/core";
import { Missions } from "@driftlock/missions";
import KeyvRedis from "@keyv/redis";
import { Keyv } from "keyv";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const [dying, missionId = crypto.randomUUID()] = process.argv.slice(2);
const store = new KeyvRedis(process.env["REDIS_URL"] ?? "redis://localhost:6379");
// A lease of a second, so that this ends soon: usually a minute.
const policy = new PolicyEngine({ rules: [], store: new Keyv({ store }), leaseMs: 1_000 });
const missions = new Missions({ policy });
const step = () => policy.authorize({ operation: "search", costUsd: 0.1 });

if (dying !== undefined) {
  // The first process: two calls are done, the third is under way when it is killed.
  await missions.run({ name: "research", missionId, budgetUsd: 0.5 }, async () => {
    await (await step()).settle();
    await (await step()).settle();
    await step();
    process.kill(process.pid, "SIGKILL");
    await new Promise(() => {});
  });
}

const first = spawn(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), "dying", missionId]);
const [, signal] = (await once(first, "close")) as [null, string];
console.log(`The first process ended by ${signal}.`);

await missions.attach(
  missionId,
  async (m) => {
    console.log(`The mission is ${m.status}: $${m.spent} spent, $${m.held} held for the call under way.`);
    while (m.held > 0) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      await m.refresh();
    }
    // Nobody can say whether it was answered, so it is charged at its estimate.
    console.log(`When its lease was over: $${m.spent.toFixed(1)} spent.`);
    for (let calls = 1; ; calls++) {
      const auth = await step().catch(() => undefined);
      if (auth === undefined) return console.log(`${calls - 1} more calls went; then it was ${m.status}.`);
      await auth.settle();
    }
  },
  { end: true },
);

await policy.close();
await store.disconnect();
