import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Endpoint, Frame } from "./endpoints/endpoint.js";
import type { ErrorBody } from "./error-body.js";

/** The connection of one request: says things, waits, and knows when the client has left. */
export class Exchange {
  readonly #response: ServerResponse;
  readonly #left = new AbortController();

  constructor(response: ServerResponse, requestId: string) {
    this.#response = response;
    response.setHeader("x-request-id", requestId);
    // As Anthropic calls it.
    response.setHeader("request-id", requestId);
    response.on("close", () => {
      if (!response.writableEnded) this.#left.abort();
    });
  }

  /** The client has left, or the server has cut the connection. */
  get isOver(): boolean {
    return this.#left.signal.aborted;
  }

  json(status: number, body: object): void {
    this.#response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  /** `word` puts the error as the endpoint does; by default as OpenAI does. */
  error(
    status: number,
    error: ErrorBody,
    { retryAfterMs, word = (body) => ({ error: body }) }: { retryAfterMs?: number; word?: Endpoint["error"] } = {},
  ): void {
    if (retryAfterMs !== undefined) {
      this.#response.setHeader("retry-after-ms", retryAfterMs);
      this.#response.setHeader("retry-after", Math.ceil(retryAfterMs / 1000));
    }
    this.json(status, word(error, status));
  }

  /** Sends one event and waits until it has left: a client that does not read slows the stream down. */
  async send({ event, data }: Frame): Promise<void> {
    if (!this.#response.headersSent) {
      this.#response.writeHead(200, {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
      });
    }
    const payload = typeof data === "string" ? data : JSON.stringify(data);
    const sent = new Promise<void>((resolve) => {
      this.#response.write(`${event === undefined ? "" : `event: ${event}\n`}data: ${payload}\n\n`, () => resolve());
    });
    await this.whileConnected(sent);
  }

  end(): void {
    this.#response.end();
  }

  /** Breaks the connection off. */
  cut(): void {
    this.#response.destroy();
  }

  /** Waits `ms` milliseconds; rejects as soon as the client leaves. */
  async pause(ms: number): Promise<void> {
    if (ms > 0) await sleep(ms, undefined, { signal: this.#left.signal });
    this.#left.signal.throwIfAborted();
  }

  /** Waits until the client leaves, then rejects. */
  untilLeft(): Promise<never> {
    return this.whileConnected(new Promise<never>(() => {}));
  }

  /** What `work` comes to; rejects as soon as the client leaves. */
  async whileConnected<T>(work: T | Promise<T>): Promise<T> {
    const { signal } = this.#left;
    signal.throwIfAborted();
    let stop = (): void => {};
    const left = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason as Error);
      signal.addEventListener("abort", stop);
    });
    try {
      return await Promise.race([work, left]);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }
}
