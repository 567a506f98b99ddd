import { writeSync } from "node:fs";
import KeyvRedis from "@keyv/redis";
import { Keyv } from "keyv";
import { steps, watchOperations, world } from "./plan.js";

/** Plays the plan on Redis and says each step it has done, until it is killed at its `lives`-th operation on the ledger. */
const [url, namespace, lives] = process.argv.slice(2);
const store = new KeyvRedis(url);
const mortal = world(new Keyv({ store }), { namespace: namespace! });
const kill = () => process.kill(process.pid, "SIGKILL");
watchOperations(mortal, (asked, ask) => {
  if (asked < Number(lives)) return ask();
  // In turn before it is sent, when it is on its way, and when it is answered.
  if (asked % 3 === 0) kill();
  const answer = ask();
  if (asked % 3 === 1) setImmediate(kill);
  return asked % 3 === 2 ? answer.finally(kill) : answer;
});
for (const [i, step] of steps.entries()) {
  await step(mortal);
  writeSync(1, `${i}\n`);
}
await mortal.policy.close();
await store.disconnect();
