import { createClient, createCluster } from "@keyv/redis";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, expect, inject, it } from "vitest";
import { startCluster, startProxy, startRedis } from "@driftlock/redis-server";

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("a server of a test's own", () => {
  it.each(["everysec", "always"] as const)("keeps what it wrote over a restart, appendfsync %s", async (appendOnly) => {
    await using redis = await startRedis({ appendOnly });
    await redis.command("SET", "a", "1");
    await redis.restart();
    expect(await redis.command("GET", "a")).toBe("1");
    await redis.kill();
    await redis.restart();
    expect(await redis.command("GET", "a")).toBe("1");
    await redis.restart("drop");
    expect(await redis.command("GET", "a")).toBe(null);
  });

  it("forgets everything over a restart without a journal", async () => {
    await using redis = await startRedis();
    await redis.command("SET", "a", "1");
    await redis.restart();
    expect(await redis.command("GET", "a")).toBe(null);
  });

  it("answers nothing while frozen, and then what it was asked", async () => {
    await using redis = await startRedis();
    redis.freeze();
    const answer = redis.command("PING");
    expect(await Promise.race([answer, wait(200)])).toBe(undefined);
    redis.thaw();
    expect(await answer).toBe("PONG");
  });

  it("ends with the process that started it, even by SIGKILL, and takes its directory along", async () => {
    const start = `import { startRedis } from "@driftlock/redis-server";
      const { port, directory } = await startRedis(); console.log(JSON.stringify({ port, directory })); setInterval(() => {}, 1e6)`;
    const owner = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", start], {
      cwd: new URL(".", import.meta.url),
      stdio: ["ignore", "pipe", "inherit"],
    });
    const said = await new Promise<string>((resolve) => owner.stdout.once("data", (data) => resolve(String(data))));
    const { port, directory } = JSON.parse(said) as { port: number; directory: string };
    await using proxy = await startProxy(port);
    expect(existsSync(directory)).toBe(true);
    expect(proxy.url).not.toContain(":6379");
    owner.kill("SIGKILL");
    await expect.poll(() => existsSync(directory)).toBe(false);
  });
});

describe("the server of the run", () => {
  it("is given to every test", () => {
    expect(inject("redisUrl")).toMatch(/^rediss?:/);
  });
});

describe("a cluster", () => {
  it("answers for keys in every part of its slots", async () => {
    await using cluster = await startCluster();
    const client = createCluster({ rootNodes: [...cluster.rootNodes] });
    await client.connect();
    for (let key = 0; key < 200; key++) await client.set(`key-${key}`, String(key));
    for (let key = 0; key < 200; key++) expect(await client.get(`key-${key}`)).toBe(String(key));
    const sizes = await Promise.all(cluster.nodes.map((node) => node.command("DBSIZE")));
    expect(sizes.every((size) => Number(size) > 30)).toBe(true);
    client.destroy();
  });
});

describe("a proxy that cuts", () => {
  it.each([
    ["before the request", null],
    ["after the request", "1"],
  ] as const)("%s leaves the server with %s, and the caller without an answer", async (cut, stored) => {
    await using redis = await startRedis();
    await using proxy = await startProxy(redis.port);
    const client = createClient({ url: proxy.url, socket: { reconnectStrategy: 10 }, disableOfflineQueue: true });
    client.on("error", () => undefined);
    await client.connect();
    const done = proxy.cut(cut, "SET");
    await expect(client.set("a", "1")).rejects.toThrow();
    await done;
    expect(await redis.command("GET", "a")).toBe(stored);
    await expect.poll(() => client.get("a").catch(() => "away")).toBe(stored);
    client.destroy();
  });
});
