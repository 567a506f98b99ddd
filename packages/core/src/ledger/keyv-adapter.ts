/** What is used of a storage adapter. A Map is one too. */
export interface Adapter {
  get(key: string): unknown;
  set(key: string, value: unknown, life?: number): unknown;
  delete(key: string): unknown;
  getMany?(keys: readonly string[]): unknown;
  setMany?(entries: readonly Entry[]): unknown;
  deleteMany?(keys: readonly string[]): unknown;
  /** Adapters of keyv 6 take an instant (`expires`) where those of keyv 5 take a `ttl`, both in ms. */
  readonly capabilities?: { readonly expires?: boolean };
}

export interface Entry {
  readonly key: string;
  readonly value: unknown;
  readonly ttl?: number;
  readonly expires?: number;
}

/**
 * The adapter behind a Keyv; `undefined` when that is not one. The ledger speaks to it directly: a Keyv hides failures
 * (keyv 5 unless `throwOnErrors`, and in `getMany` always; keyv 6 always), gives every record the Keyv's own ttl and tells
 * its hooks. keyv 6 wraps older adapters and Maps in one of its own, which is taken off.
 */
export function adapterOf(keyv: unknown): Adapter | undefined {
  if (typeof keyv !== "object" || keyv === null) return undefined;
  const { store, opts } = keyv as { store?: unknown; opts?: { store?: unknown } };
  let adapter = store ?? opts?.store;
  while (isWrapper(adapter)) adapter = adapter.store;
  return isAdapter(adapter) ? adapter : undefined;
}

/** The Keyv's own namespace. "keyv" is keyv 5's default where keyv 6 has none: both mean the same keys. */
export function namespaceOf({ namespace }: { readonly namespace?: string | undefined }): string {
  return namespace === undefined || namespace === "keyv" ? "" : namespace;
}

function isWrapper(value: unknown): value is { readonly store: unknown } {
  if (!isAdapter(value)) return false;
  const { store, getKeyPrefix } = value as { store?: unknown; getKeyPrefix?: unknown };
  return isAdapter(store) && typeof getKeyPrefix === "function";
}

function isAdapter(value: unknown): value is Adapter {
  if (typeof value !== "object" || value === null) return false;
  const { get, set, delete: remove } = value as Partial<Record<keyof Adapter, unknown>>;
  return typeof get === "function" && typeof set === "function" && typeof remove === "function";
}
