import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";

/**
 * The shell becomes redis-server; what it leaves behind waits on file descriptor 3, which this process holds. A line there
 * says that all is well; its mere end means that this process is gone, by whatever signal: then the server goes too.
 */
const script = `(trap "" INT TERM HUP; read line <&3 || { kill -9 $$; rm -rf "$DIRECTORY"; }) >/dev/null 2>&1 &
exec redis-server "$@" 3<&-`;

/** One run of redis-server. It neither keeps this process alive nor outlives it. */
export class RedisProcess {
  /** Resolves when it accepts connections; rejects with what it said when it ends before. */
  readonly ready: Promise<void>;
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;

  constructor(args: readonly string[], directory: string) {
    const child = spawn("sh", ["-c", script, "redis-server", ...args], {
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      env: { ...process.env, DIRECTORY: directory },
    });
    this.#child = child;
    const [, stdout, stderr, watcher] = child.stdio as unknown as [null, Socket, Socket, Socket];
    this.ended = new Promise((resolve) => child.once("exit", () => resolve()));
    void this.ended.then(() => watcher.end("ended\n"));
    // It may be gone before it reads that line.
    watcher.on("error", () => undefined);

    let said = "";
    this.ready = new Promise((resolve, reject) => {
      for (const stream of [stdout, stderr]) {
        stream.on("data", (chunk: Buffer) => {
          said = (said + chunk.toString()).slice(-4_000);
          if (!said.includes("Ready to accept connections")) return;
          resolve();
          for (const one of [stdout, stderr, watcher]) one.unref();
          child.unref();
        });
      }
      child.once("error", reject);
      child.once("close", () => reject(new Error(`redis-server ended before it was ready:\n${said}`)));
    });
    // A server that ends later has been ready.
    this.ready.catch(() => undefined);
  }

  signal(name: NodeJS.Signals): void {
    // Whoever ends it waits for its end.
    if (name === "SIGKILL" || name === "SIGTERM") this.#child.ref();
    this.#child.kill(name);
  }
}
