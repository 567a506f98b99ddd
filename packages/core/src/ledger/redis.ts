import type { Keyv } from "keyv";
import { systemClock, type Clock } from "../clock.js";
import { ConfigError } from "../errors/config-error.js";
import { adapterOf, namespaceOf } from "./keyv-adapter.js";
import type {
  AccountPatch,
  AccountState,
  Actual,
  Closed,
  Hold,
  Ledger,
  Meter,
  MeterClaim,
  MeterReading,
  Reserved,
  ReserveRequest,
  Shortage,
} from "./ledger.js";
import { amendedFrom, closedFrom, readingsFrom, renewedFrom, reservedFrom, shortagesFrom } from "./redis-answers.js";
import { RedisConnection, redisAdapterOf } from "./redis-client.js";
import { RedisKeys } from "./redis-keys.js";
import { amendmentOf, claimsOf, closeOf, demandOf, renewalOf, viewsOf } from "./redis-requests.js";
import { scripts } from "./redis-scripts.js";
import { RedisSession } from "./redis-session.js";
import type { RedisSheet } from "./redis-sheet.js";

export interface RedisLedgerOptions {
  /** Ledgers of one namespace on one server share their accounts. Default "driftlock". */
  readonly namespace?: string | undefined;
  /** The clock `notAfter` is told by. Windows and leases go by the server's time. */
  readonly clock?: Clock | undefined;
  /** ms after which what could not be sent is taken back. Default 500. */
  readonly timeoutMs?: number | undefined;
}

/** Holds renewed by one script: others wait meanwhile. */
const MAX_RENEWED = 64;

/**
 * The ledger in Redis, through the client of `@keyv/redis`: every operation is one script, so it is atomic across all processes
 * and one round trip. The server's time decides windows and leases. Needs Redis 7 or later.
 */
export class RedisLedger implements Ledger {
  readonly atomicity = "all-processes";
  readonly #clock: Clock;
  readonly #session: RedisSession;

  /**
   * @param now For `@driftlock/core/testing` alone: the time to go by instead of the server's.
   * @throws ConfigError when the Keyv's adapter is not `@keyv/redis`.
   */
  constructor(keyv: Keyv, options: RedisLedgerOptions = {}, now?: () => number) {
    const adapter = adapterOf(keyv);
    const redis = adapter && redisAdapterOf(adapter);
    if (redis === undefined) {
      throw new ConfigError({ field: "store", value: keyv, problem: "must be a Keyv over @keyv/redis" });
    }
    const namespace = options.namespace ?? "driftlock";
    const keys = new RedisKeys(namespace, namespaceOf(keyv));
    this.#clock = options.clock ?? systemClock;
    // Timers are real ones also where a test gives the time.
    const connection = new RedisConnection(redis, systemClock, options.timeoutMs ?? 500);
    this.#session = new RedisSession(namespace, keys, connection, now);
  }

  reserve(request: ReserveRequest): Promise<Reserved> {
    const { id, drawFrom, notAfter } = request;
    // Told by the caller's clock, meant for the server's: what counts is how long the caller still waits.
    const patience = notAfter === undefined ? Infinity : notAfter - this.#clock.now();
    const until = patience === Infinity ? undefined : this.#session.moment(patience);
    return this.#session.ask(
      "reserve",
      scripts.reserve,
      drawFrom === undefined ? [id] : [id, drawFrom.id],
      (sheet, life) => demandOf(sheet, life, request, until?.()),
      (reply, life) => reservedFrom(reply, life, request),
    );
  }

  check(
    claims: readonly MeterClaim[],
    n: { floor: number; want: number },
    drawFrom?: Hold,
  ): Promise<readonly Shortage[]> {
    // The slice is the second of the holds.
    const holds = drawFrom === undefined ? [] : [drawFrom.id, drawFrom.id];
    return this.#session.ask(
      "check",
      scripts.check,
      holds,
      (sheet, life) => claimsOf(sheet, life, claims, n, drawFrom),
      ({ now, rest }) => shortagesFrom(rest[0], claims, n, now),
    );
  }

  settle(hold: Hold, actual: Actual, views: readonly Meter[] = []): Promise<Closed> {
    return this.#close("settle", hold, actual, views);
  }

  release(hold: Hold, views: readonly Meter[] = []): Promise<Closed> {
    return this.#close("release", hold, undefined, views);
  }

  async renew(holds: readonly Hold[], ms: number): Promise<readonly boolean[]> {
    const renewed: boolean[] = [];
    for (let at = 0; at < holds.length; at += MAX_RENEWED) {
      const some = holds.slice(at, at + MAX_RENEWED);
      const ids = some.map(({ id }) => id);
      const compose = (sheet: RedisSheet) => renewalOf(sheet, some, ms);
      renewed.push(...(await this.#session.ask("renew", scripts.renew, ids, compose, renewedFrom)));
    }
    return renewed;
  }

  read(meters: readonly Meter[]): Promise<readonly MeterReading[]> {
    return this.#session.ask(
      "read",
      scripts.read,
      [],
      (sheet) => viewsOf(sheet, meters),
      ({ rest }) => readingsFrom(rest[0], meters),
    );
  }

  amend(account: string, patch: AccountPatch, onceId?: string): Promise<{ applied: boolean; state: AccountState }> {
    const compose = (sheet: RedisSheet) => amendmentOf(sheet, account, patch, onceId);
    return this.#session.ask("amend", scripts.amend, [], compose, amendedFrom);
  }

  /** Nothing lost: does nothing. Another life on the server: goes on with that. Else begins a new one, at zero. */
  acceptLoss(): Promise<void> {
    return this.#session.acceptLoss();
  }

  /** The Keyv stays open, and so does the ledger: others may be using it. */
  close(): void {}

  #close(
    operation: "settle" | "release",
    hold: Hold,
    actual: Actual | undefined,
    views: readonly Meter[],
  ): Promise<Closed> {
    const ids = hold.drawn === undefined ? [hold.id] : [hold.id, hold.drawn.hold];
    return this.#session.ask(
      operation,
      scripts.close,
      ids,
      (sheet, life) => closeOf(sheet, life, hold, actual, views),
      (reply) => closedFrom(reply, views),
    );
  }
}
