/** Many processes: two workers share one budget on one Redis, and together send exactly what it allows. */
import { MonthlyBudgetRule, PolicyEngine, PolicyViolationError } from "@driftlock/core";
import KeyvRedis from "@keyv/redis";
import { Keyv } from "keyv";
import { fork } from "node:child_process";
import { once } from "node:events";

const store = new Keyv(new KeyvRedis(process.env.REDIS_URL ?? "redis://localhost:6379"));
const namespace = process.env.NAMESPACE ?? `example-${crypto.randomUUID()}`;

// Every process builds the same policy. A store that is not exact across processes is refused here.
const policy = new PolicyEngine({
  rules: [new MonthlyBudgetRule({ maxUsd: 1 })],
  store,
  namespace,
  requireAtomicity: "all-processes",
});

if (process.send !== undefined) await work(process.send.bind(process));
else await supervise();
await policy.close();
await store.disconnect();
process.disconnect?.();

/** 50 parallel calls of $0.10. */
async function work(report: (sent: number) => boolean): Promise<void> {
  const calls = Array.from({ length: 50 }, () =>
    policy.run({ operation: "search", costUsd: 0.1 }, async () => "an answer that cost $0.10"),
  );
  const outcomes = await Promise.allSettled(calls);
  for (const outcome of outcomes) {
    if (outcome.status === "rejected" && !PolicyViolationError.isInstance(outcome.reason)) throw outcome.reason;
  }
  report(outcomes.filter(({ status }) => status === "fulfilled").length);
}

async function supervise(): Promise<void> {
  const workers = [1, 2].map(() => fork(import.meta.filename, { env: { ...process.env, NAMESPACE: namespace } }));
  const sent = await Promise.all(workers.map(async (worker) => Number((await once(worker, "message"))[0])));
  const [month] = await policy.usage();
  console.log(`Two workers tried 100 calls of $0.10 against $${month!.maxUsd}: ${sent[0]! + sent[1]!} were sent.`);
  console.log(`The month: $${month!.spentUsd.toFixed(2)} spent, $${month!.heldUsd.toFixed(2)} held.`);
}
