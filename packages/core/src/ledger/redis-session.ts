import { monotonic } from "../clock.js";
import { DriftlockError, messageOf } from "../errors/driftlock-error.js";
import { StateLostError, StoreError } from "../errors/store-error.js";
import { adviceOn } from "./redis-advice.js";
import { nonsense, type Reply } from "./redis-answers.js";
import type { RedisConnection } from "./redis-client.js";
import { LAYOUT, lifeFrom, newLife, type RedisKeys, type RedisLife } from "./redis-keys.js";
import type { Told } from "./redis-requests.js";
import { scripts, type RedisScript } from "./redis-scripts.js";
import { RedisSheet } from "./redis-sheet.js";
import { RedisTime } from "./redis-time.js";

/** Writes what an operation tells its script; once more when that needs to know further days. */
type Compose = (sheet: RedisSheet, life: RedisLife) => Told;

/** A script may find that it needs days which the one before did not: more than this many times it cannot. */
const MAX_SHEETS = 4;
/** The advice that was given: once a process, whatever the number of ledgers. */
const advised = new Set<string>();

/** Asks one namespace's scripts: finds its life first, and knows the server's time. */
export class RedisSession {
  readonly #namespace: string;
  readonly #keys: RedisKeys;
  readonly #connection: RedisConnection;
  readonly #fixed: (() => number) | undefined;
  readonly #time = new RedisTime();
  #life: RedisLife | undefined;
  #opening: Promise<RedisLife> | undefined;

  /** @param fixed Takes the place of the server's time: tests. */
  constructor(namespace: string, keys: RedisKeys, connection: RedisConnection, fixed: (() => number) | undefined) {
    this.#namespace = namespace;
    this.#keys = keys;
    this.#connection = connection;
    this.#fixed = fixed;
  }

  /** What the server's time will be in so many ms from now: answered later, and never told too late. */
  moment(ms: number): () => number {
    if (this.#fixed !== undefined) return () => this.#today() + ms;
    const began = monotonic();
    return () => this.#time.now() + ms - (monotonic() - began);
  }

  /** One round trip; a second one when a window reaches back to days that were not foreseen. Every failure is a `StoreError`. */
  async ask<T>(
    operation: string,
    script: RedisScript,
    holds: readonly string[],
    compose: Compose,
    answer: (reply: Reply, life: RedisLife) => T,
  ): Promise<T> {
    try {
      const life = this.#life ?? (await this.#open());
      let from = this.#today();
      let to = from;
      for (let tries = 0; tries < MAX_SHEETS; tries++) {
        const sheet = new RedisSheet(this.#keys, life, { from, to }, holds);
        const argument = sheet.argument(this.#fixed?.(), compose(sheet, life));
        const reply = await this.#connection.run(script, sheet.keys(), argument);
        this.#time.heard(reply.now);
        if (reply.status === "lost") throw this.#lost(operation, reply.rest[0]);
        if (reply.status !== "window") return answer(reply, life);
        from = Number(reply.rest[0]);
        to = reply.now;
      }
      throw nonsense("window");
    } catch (error) {
      throw asStoreError(operation, error);
    }
  }

  /** Goes on with the life that is there, or begins a new one. */
  async acceptLoss(): Promise<void> {
    try {
      await this.#open();
    } catch (error) {
      throw asStoreError("acceptLoss", error);
    }
  }

  #today(): number {
    return this.#fixed?.() ?? this.#time.now();
  }

  #open(): Promise<RedisLife> {
    this.#opening ??= this.#find().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async #find(): Promise<RedisLife> {
    const { now, rest } = await this.#connection.run(scripts.life, [this.#keys.head], newLife().head);
    this.#time.heard(now);
    const life = lifeFrom(rest[0]);
    if (typeof life !== "object") throw this.#lost("open", rest[0]);
    this.#life = life;
    void this.#advise();
    return life;
  }

  async #advise(): Promise<void> {
    try {
      const { rest } = await this.#connection.run(scripts.info, [this.#keys.head], "");
      for (const advice of adviceOn(String(rest[0]))) {
        if (advised.has(advice)) continue;
        advised.add(advice);
        process.emitWarning(advice, { code: "DRIFTLOCK_REDIS_SETTINGS" });
      }
    } catch {
      // A user without the right to see the settings: no advice, and nothing else is amiss.
    }
  }

  #lost(operation: string, head: unknown): Error {
    const found = lifeFrom(head);
    if (typeof found !== "number") return new StateLostError(operation, this.#namespace);
    return new StoreError(
      operation,
      `the namespace "${this.#namespace}" is kept in layout ${found}, and this version of @driftlock/core reads layout ` +
        `${LAYOUT}: install the same version in all processes`,
    );
  }
}

function asStoreError(operation: string, error: unknown): Error {
  if (DriftlockError.isInstance(error)) return error;
  // The first line of a script that may pass maxmemory: to a Redis before 7 a syntax error.
  const problem = messageOf(error).includes("near '#'") ? "it needs Redis 7 or later" : messageOf(error);
  return new StoreError(operation, problem, { cause: error });
}
