import KeyvRedis from "@keyv/redis";
import { DriftlockError } from "@driftlock/core";
import { MissionBudgetExceededError } from "@driftlock/missions";
import { Keyv } from "keyv";
import { world } from "./plan.js";

/** Attaches to a mission and makes 50 calls of $0.05 in it at once; says how many went, and how the others ended. */
const [url, namespace, id] = process.argv.slice(2);
const store = new KeyvRedis(url);
const { policy, missions } = world(new Keyv({ store }), { namespace: namespace!, leaseMs: 60_000 });
const outcomes = await missions.attach(id!, async (m) => {
  const calls = Array.from({ length: 50 }, async () => {
    const auth = await policy.authorize({ model: "c5", inputTokens: 0, maxOutputTokens: 1_000 });
    await auth.settle({ inputTokens: 0, outputTokens: 1_000 });
  });
  const ends = await Promise.allSettled(calls);
  return { ends, status: m.status };
});
const refused = outcomes.ends.flatMap((end) => (end.status === "rejected" ? [end.reason as unknown] : []));
console.log(
  JSON.stringify({
    sent: 50 - refused.length,
    status: outcomes.status,
    refusals: [
      ...new Set(
        refused.map(
          (error) =>
            MissionBudgetExceededError.find(error)?.action ?? DriftlockError.find(error)?.code ?? String(error),
        ),
      ),
    ],
  }),
);
await policy.close();
await store.disconnect();
