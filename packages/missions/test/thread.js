// A worker thread with a policy of its own: one call outside, then calls in the mission until one is refused.
import { parentPort, workerData } from "node:worker_threads";
import KeyvRedis from "@keyv/redis";
import { Keyv } from "keyv";
import { register } from "tsx/esm/api";

// The sources are TypeScript.
register();
const { PolicyEngine } = await import("@driftlock/core");
const { Missions } = await import("../src/index.ts");

const { url, namespace } = workerData;
const store = new KeyvRedis(url);
const policy = new PolicyEngine({ rules: [], store: new Keyv({ store }), namespace, storeTimeoutMs: 5_000 });
const step = async () => (await policy.authorize({ operation: "x", costUsd: 0.1 })).settle();

await step();
let sent = 0;
await new Missions({ policy }).attach("m", async () => {
  try {
    for (;;) {
      await step();
      sent++;
    }
  } catch (error) {
    parentPort.postMessage({ sent, refused: error.code });
  }
});
await policy.close();
await store.disconnect();
