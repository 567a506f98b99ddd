import { provideRedis } from "@driftlock/redis-server";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** A real Redis for the whole run: `inject("redisUrl")`. Others use it too: take a namespace of your own. */
    redisUrl: string;
  }
}

let stop: (() => Promise<void>) | undefined;

/** REDIS_URL, or a server for the whole run, installed if need be. Without one the run fails: nothing is skipped. */
export async function setup(project: TestProject): Promise<void> {
  const redis = await provideRedis();
  stop = () => redis.stop();
  project.provide("redisUrl", redis.url);
}

export async function teardown(): Promise<void> {
  await stop?.();
}
