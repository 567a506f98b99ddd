import { monotonic, type Clock } from "../clock.js";
import { messageOf } from "../errors/driftlock-error.js";
import { NonsenseError, replyFrom, type Reply } from "./redis-answers.js";
import type { RedisScript } from "./redis-scripts.js";

/** What is used of a node-redis client: a single server's, a cluster's or a sentinel's. */
interface RedisClient {
  readonly isOpen: boolean;
  /** Not told by clusters. */
  readonly isReady?: boolean;
  connect(): Promise<unknown>;
  destroy(): unknown;
  evalSha(sha: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
  withCommandOptions(options: { typeMapping: object; timeout?: number }): RedisClient;
}

/** What is used of `@keyv/redis`. Its own `getClient` listens to the client once more at every connection. */
interface RedisAdapter {
  readonly client: RedisClient;
}

/** The adapter as one of `@keyv/redis`; `undefined` when it is not one, or of a client that cannot run scripts. */
export function redisAdapterOf(adapter: object): RedisAdapter | undefined {
  const { client, getClient } = adapter as Partial<RedisAdapter> & { getClient?: unknown };
  if (typeof getClient !== "function" || typeof client !== "object" || client === null) return undefined;
  const { evalSha, withCommandOptions } = client as Partial<RedisClient>;
  return typeof evalSha === "function" && typeof withCommandOptions === "function"
    ? (adapter as RedisAdapter)
    : undefined;
}

/** Numbers what is asked: several ledgers, also of several copies of the package, may share a connection. */
const copy = crypto.randomUUID().slice(0, 8);
let questions = 0;
/** A client that has not become ready for so long (ms) may be one whose handshake's answers went elsewhere. */
const AWAY_MS = 3_000;

/** Runs scripts through the adapter's own connection. */
export class RedisConnection {
  readonly #adapter: RedisAdapter;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #connecting: Promise<unknown> | undefined;
  /** Connections that were given up. */
  #life = 0;
  /** Since when (ms) the client has not been ready. */
  #awaySince: number | undefined;
  #client: RedisClient | undefined;
  /** The same connection: `steady` with answers as this package reads them, `hasty` takes back what was not sent in time. */
  #steady: RedisClient | undefined;
  #hasty: RedisClient | undefined;

  constructor(adapter: RedisAdapter, clock: Clock, timeoutMs: number) {
    this.#adapter = adapter;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** Throws whatever goes wrong, also when the answer is not the one to this question. */
  async run(script: RedisScript, keys: string[], argument: string): Promise<Reply> {
    const client = await this.#connected();
    const question = copy + String(++questions);
    const life = this.#life;
    try {
      const answer = await evaluated(client, script, { keys, arguments: [argument, question] });
      return replyFrom(answer, question);
    } catch (error) {
      if (error instanceof NonsenseError || isOfAnotherCommand(error)) await this.#renew(life);
      throw error;
    }
  }

  async #connected(): Promise<RedisClient> {
    const { client } = this.#adapter;
    if (!client.isOpen || this.#connecting !== undefined) await this.#connect(client);
    if (client !== this.#client) {
      this.#client = client;
      this.#steady = client.withCommandOptions({ typeMapping: {} });
      this.#hasty = client.withCommandOptions({ typeMapping: {}, timeout: this.#timeoutMs });
    }
    if (client.isReady !== false) {
      this.#awaySince = undefined;
      return this.#steady!;
    }
    this.#awaySince ??= monotonic();
    if (monotonic() - this.#awaySince > AWAY_MS) await this.#renew(this.#life);
    // While the server is away commands queue up in the client; given up, they shall not be sent on its return.
    return this.#hasty!;
  }

  /** A client goes on trying for ever; who waits for it does not. */
  #connect(client: RedisClient): Promise<void> {
    this.#connecting ??= client.connect().finally(() => (this.#connecting = undefined));
    const connecting = this.#connecting;
    return new Promise((resolve, reject) => {
      const tooLate = () => reject(new Error(`no connection within ${this.#timeoutMs} ms`));
      const cancel = this.#clock.after(this.#timeoutMs, tooLate, { hold: true });
      connecting.then(() => resolve(), reject).finally(cancel);
    });
  }

  /**
   * After a reset in the wrong moment @redis/client 5 gives every answer to a later command than the one it belongs to, until the
   * next reset: commands it had not sent wait for answers all the same (test/redis/cut.test.ts). So it gets that reset.
   */
  async #renew(life: number): Promise<void> {
    if (life !== this.#life) return;
    this.#life++;
    this.#awaySince = undefined;
    await this.#adapter.client.destroy();
  }
}

async function evaluated(
  client: RedisClient,
  script: RedisScript,
  options: { keys: string[]; arguments: string[] },
): Promise<unknown> {
  try {
    return await client.evalSha(script.sha, options);
  } catch (error) {
    // The server was started anew, or its scripts were flushed: nothing has run.
    if (!messageOf(error).startsWith("NOSCRIPT")) throw error;
    return client.eval(script.text, options);
  }
}

/** What a script fails with names it; a handshake's error does not. */
function isOfAnotherCommand(error: unknown): boolean {
  const message = messageOf(error);
  return message.startsWith("ERR ") && !message.includes("script");
}
