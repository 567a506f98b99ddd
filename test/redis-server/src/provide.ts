import { startRedis } from "./server.js";

/**
 * The Redis of REDIS_URL, or one started for the caller, with the settings the README recommends: a journal flushed every
 * second, and no eviction.
 */
export async function provideRedis(): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const { REDIS_URL } = process.env;
  if (REDIS_URL) return { url: REDIS_URL, stop: async () => undefined };
  return startRedis({ appendOnly: "everysec" });
}
