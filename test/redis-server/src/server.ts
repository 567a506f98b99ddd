import { createClient } from "@keyv/redis";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureRedis } from "./binary.js";
import { freePort } from "./free-port.js";
import { RedisProcess } from "./process.js";

export interface RedisOptions {
  /** The append-only file: "off" (the default) keeps nothing over a restart. */
  readonly appendOnly?: "off" | "everysec" | "always";
  /** As in redis.conf, "20mb"; reached, writes are refused (`noeviction`). Default: no limit. */
  readonly maxMemory?: string;
  /** Further lines of redis.conf by name. */
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * Starts a real redis-server on a free port of 127.0.0.1, in a directory of its own. It ends with this process, however
 * this process ends.
 *
 * @example
 * await using redis = await startRedis({ appendOnly: "always" });
 * const store = new Keyv(new KeyvRedis(redis.url));
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  ensureRedis();
  const directory = await mkdtemp(join(tmpdir(), "driftlock-redis-"));
  for (let attempt = 1; ; attempt++) {
    const server = new RedisServer(await freePort(), directory, options);
    try {
      await server.restart();
      return server;
    } catch (error) {
      // Another process may have taken the port in between.
      if (attempt === 5 || !String(error).includes("in use")) throw error;
    }
  }
}

/** A running server, and what can happen to one. */
export class RedisServer implements AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly directory: string;
  readonly #arguments: readonly string[];
  #process: RedisProcess | undefined;

  constructor(port: number, directory: string, { appendOnly = "off", maxMemory, settings }: RedisOptions) {
    this.port = port;
    this.url = `redis://127.0.0.1:${port}`;
    this.directory = directory;
    const all: Record<string, string> = {
      port: String(port),
      bind: "127.0.0.1",
      dir: directory,
      save: "",
      appendonly: appendOnly === "off" ? "no" : "yes",
      ...(appendOnly === "off" ? {} : { appendfsync: appendOnly }),
      ...(maxMemory === undefined ? {} : { maxmemory: maxMemory }),
      ...settings,
    };
    this.#arguments = Object.entries(all).flatMap(([name, value]) => [`--${name}`, value]);
  }

  /**
   * Shuts it down in an orderly way if it runs, and starts it on the same port and directory.
   *
   * @param data "keep" (the default): what was written to disk is read again. "drop": it starts empty.
   */
  async restart(data: "keep" | "drop" = "keep"): Promise<void> {
    await this.#end("SIGTERM");
    if (data === "drop") {
      await rm(this.directory, { recursive: true, force: true });
      await mkdir(this.directory);
    }
    const started = new RedisProcess(this.#arguments, this.directory);
    await started.ready;
    this.#process = started;
  }

  /** SIGKILL: it loses what it has not written. {@link restart} brings it back. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** SIGSTOP: connections stay open and nothing is answered until {@link thaw}. */
  freeze(): void {
    this.#process?.signal("SIGSTOP");
  }

  /** SIGCONT: goes on where it was frozen, with all that was sent to it meanwhile. */
  thaw(): void {
    this.#process?.signal("SIGCONT");
  }

  /** Sends one command on a connection of its own. */
  async command(...words: readonly string[]): Promise<unknown> {
    const client = createClient({ url: this.url, socket: { reconnectStrategy: false } });
    // The failure is reported by the promise that waits for it.
    client.on("error", () => undefined);
    await client.connect();
    try {
      return await client.sendCommand([...words]);
    } finally {
      client.destroy();
    }
  }

  /** Ends it and removes its directory. */
  async stop(): Promise<void> {
    await this.#end("SIGKILL");
    await rm(this.directory, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    running?.signal(signal);
    // A frozen one would keep an orderly end waiting.
    if (signal === "SIGTERM") running?.signal("SIGCONT");
    await running?.ended;
  }
}
