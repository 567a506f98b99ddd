import type { Keyv } from "keyv";
import type { Clock } from "../clock.js";
import { ConfigError } from "../errors/config-error.js";
import { adapterOf, namespaceOf, type Adapter } from "./keyv-adapter.js";
import { KeyvLedger } from "./keyv.js";
import type { Ledger } from "./ledger.js";
import { MemoryLedger } from "./memory.js";
import { redisAdapterOf } from "./redis-client.js";
import { RedisLedger } from "./redis.js";

export interface OpenLedgerOptions {
  /** Default "driftlock". */
  readonly namespace?: string | undefined;
  readonly clock?: Clock | undefined;
  /** ms a store has for one commit. Default 500. */
  readonly timeoutMs?: number | undefined;
}

/** Shared by every copy of the package in a process: two books on one store would each know half of what was spent. */
const registryKey = Symbol.for("driftlock.ledgers");

/**
 * The ledger of a store: the same one for the same adapter (or Map) and namespace, with the options of its first opening.
 * "memory", or none: a new one in memory. A Keyv over a plain Map: in memory too, beside the Map; over `@keyv/redis`: in
 * Redis, through the adapter's own client. A `Ledger`: itself.
 *
 * @throws ConfigError naming `store`, when it is none of these.
 */
export function openLedger(store: Keyv | Ledger | "memory" | undefined, options: OpenLedgerOptions = {}): Ledger {
  if (store === undefined || store === "memory") return new MemoryLedger(clockOf(options));
  if (isLedger(store)) return store;
  const adapter = adapterOf(store);
  if (adapter === undefined) {
    const problem = 'must be a Keyv (wrap an adapter: new Keyv(adapter)), a Ledger or "memory"';
    throw new ConfigError({ field: "store", value: store, problem });
  }
  const ledgers = ledgersOf(adapter);
  const name = JSON.stringify([options.namespace ?? "driftlock", namespaceOf(store)]);
  let ledger = ledgers.get(name);
  if (ledger === undefined) {
    if (adapter instanceof Map) ledger = new MemoryLedger(clockOf(options));
    else if (redisAdapterOf(adapter) !== undefined) ledger = new RedisLedger(store, options);
    else ledger = new KeyvLedger(store, options);
    ledgers.set(name, ledger);
  }
  return ledger;
}

/** Whether several processes may be using this store at once, as far as one can tell: not a Map, and not a file. */
export function isShareable(store: unknown): boolean {
  const adapter = isLedger(store) ? undefined : adapterOf(store);
  if (adapter === undefined || adapter instanceof Map) return false;
  const { opts } = adapter as { opts?: { dialect?: unknown } | null };
  // The class's name counts too: keyv-file gives its dialect as "redis".
  return ![adapter.constructor?.name, opts?.dialect].some((name) => isLocal.test(String(name)));
}

const isLocal = /file|sqlite|lru|memory|bigmap|level|directory/i;

function clockOf({ clock }: OpenLedgerOptions): { clock?: Clock } {
  return clock === undefined ? {} : { clock };
}

function ledgersOf(adapter: Adapter): Map<string, Ledger> {
  const shared = globalThis as { [registryKey]?: WeakMap<Adapter, Map<string, Ledger>> };
  const registry = (shared[registryKey] ??= new WeakMap());
  let ledgers = registry.get(adapter);
  if (ledgers === undefined) registry.set(adapter, (ledgers = new Map()));
  return ledgers;
}

function isLedger(value: unknown): value is Ledger {
  if (typeof value !== "object" || value === null) return false;
  const { reserve, settle, atomicity } = value as Partial<Ledger>;
  return typeof reserve === "function" && typeof settle === "function" && typeof atomicity === "string";
}
