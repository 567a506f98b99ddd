import { Worker } from "node:worker_threads";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { PolicyEngine } from "@driftlock/core";
import KeyvRedis from "@keyv/redis";
import { Keyv } from "keyv";
import { Missions } from "../src/index.js";
import { call, callUntilRefused, optionsOf, prices } from "./kit.js";

const url = inject("redisUrl");

describe("a worker thread", () => {
  it("is not in the mission of the code that starts it, and joins it by attach over a shared store", async () => {
    const namespace = crypto.randomUUID();
    const store = new KeyvRedis(url);
    const policy = new PolicyEngine({
      rules: [],
      store: new Keyv({ store }),
      namespace,
      prices,
      storeTimeoutMs: 5_000,
    });
    onTestFinished(async () => {
      await policy.close();
      await store.disconnect();
    });
    const missions = new Missions({ policy });
    await missions.run(optionsOf({ missionId: "m", budgetUsd: 0.5 }), async (m) => {
      await call(policy);
      const said = await new Promise((resolve, reject) => {
        const worker = new Worker(new URL("./thread.js", import.meta.url), {
          workerData: { url, namespace },
          execArgv: ["--conditions", "@driftlock/source"],
        });
        worker.once("message", resolve);
        worker.once("error", reject);
      });
      expect(said).toEqual({ sent: 4, refused: "MISSION_BUDGET_EXCEEDED" });
      await m.refresh();
      expect([m.spent, m.callCount, m.status]).toEqual([0.5, 5, "killed"]);
      expect((await callUntilRefused(policy)).sent).toBe(0);
    });
  });
});
