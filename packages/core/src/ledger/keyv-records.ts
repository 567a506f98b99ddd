import { createHash } from "node:crypto";
import type { AccountState } from "./ledger.js";
import type { Series } from "./series.js";
import type { Account, HoldRecord } from "./shelf.js";

/** One record to be stored, or to be deleted when it has no `json`. */
export interface Write {
  readonly key: string;
  readonly json: string | undefined;
  /** The instant (ms) from which it may be forgotten; undefined: never. */
  readonly expires: number | undefined;
}

/** What every commit reads and writes: whose life this is, and how far it has come. */
export interface Head {
  readonly epoch: string;
  /** Raised by one at every commit. */
  readonly seq: number;
  /** The ledger object that wrote it. */
  readonly writer: string;
  /** How many accounts are forgotten on which day: day, count, day, count, …; day 0: never. */
  readonly accounts: readonly number[];
}

/** All writes of one commit, stored before the first of them: a crash between them is mended by doing them again. */
export interface Redo {
  readonly epoch: string;
  readonly seq: number;
  readonly writes: readonly Write[];
}

/** The longest key: half the adapters end at 255 characters, some with a prefix of their own. */
const MAX_KEY = 200;
const DAY_MS = 86_400_000;

/**
 * The spelling of the store's keys: `driftlock::v1::account:workspace`. They stand beside the Keyv's own namespace, so that
 * `keyv.clear()` of a cache does not take the budgets with it: SQL adapters delete `namespace:%`, Redis ones without a
 * namespace every key that has no `::`. Only characters no collation folds are used: to MySQL, Ada and ada are one key.
 */
export class KeyvKeys {
  readonly head: string;
  readonly redo: string;
  readonly #account: string;
  readonly #hold: string;
  readonly #accounts = new Map<string, string>();

  /** @param keyvNamespace The Keyv's own namespace, so that two on one table stay apart. */
  constructor(namespace: string, keyvNamespace = "") {
    const root = `${segment(namespace)}::v1:${segment(keyvNamespace)}:`;
    this.head = `${root}head`;
    this.redo = `${root}redo`;
    this.#account = `${root}account:`;
    this.#hold = `${root}hold:`;
  }

  account(account: string): string {
    let key = this.#accounts.get(account);
    if (key === undefined) {
      if (this.#accounts.size >= 10_000) this.#accounts.clear();
      this.#accounts.set(account, (key = bounded(this.#account, encode(account), MAX_KEY)));
    }
    return key;
  }

  hold(id: string): string {
    return bounded(this.#hold, encode(id), MAX_KEY);
  }
}

/** A part of a key that no other part can reach. */
export function segment(text: string): string {
  return bounded("", encode(text).replaceAll(":", "~003a"), 60);
}

const plain = /^[a-z0-9_.@%:-]*$/;

function encode(text: string): string {
  if (plain.test(text)) return text;
  return text.replace(/[^a-z0-9_.@%:-]/g, (unit) => `~${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function bounded(prefix: string, text: string, most: number): string {
  if (prefix.length + text.length <= most) return prefix + text;
  return `${prefix}~${createHash("sha256").update(text).digest("hex").slice(0, 48)}`;
}

/** The day (since 1970) at whose start an account is forgotten; 0: never. Whole days, so that the head can count them. */
export function lastDayOf(account: Account): number {
  return account.idleAt === Infinity ? 0 : Math.max(1, Math.ceil(account.idleAt / DAY_MS));
}

export function startOfDay(day: number): number {
  return day * DAY_MS;
}

export function accountJson(of: string, epoch: string, account: Account): string {
  // JSON has no Infinity.
  return JSON.stringify({ of, epoch, ...account, idleAt: account.idleAt === Infinity ? null : account.idleAt });
}

export function holdJson(of: string, epoch: string, hold: HoldRecord): string {
  return JSON.stringify({ of, epoch, ...hold });
}

export function headJson(head: Head): string {
  return JSON.stringify({ of: "head", ...head });
}

/** Built by hand: the records in it are JSON already. */
export function redoJson({ epoch, seq, writes }: Redo): string {
  let list = "";
  for (const { key, json, expires } of writes) {
    list += `${list === "" ? "" : ","}[${JSON.stringify(key)},${expires ?? null},${json ?? null}]`;
  }
  return `{"of":"redo","epoch":${JSON.stringify(epoch)},"seq":${seq},"writes":[${list}]}`;
}

/** The account stored under this key; undefined when there is none, or one of a former life. Throws when it is garbage. */
export function accountFrom(record: unknown, of: string, epoch: string): Account | undefined {
  if (!isCurrent(record, of, epoch)) return undefined;
  const { s, idleAt, state, once } = record;
  if (!Array.isArray(s) || !s.every(isSeries) || !(idleAt === null || isNumber(idleAt))) throw garbage(of);
  if (!(state === undefined || isState(state)) || !(once === undefined || Array.isArray(once))) throw garbage(of);
  return {
    s,
    idleAt: idleAt ?? Infinity,
    ...(state === undefined ? {} : { state }),
    ...(once === undefined ? {} : { once: once as string[] }),
  };
}

export function holdFrom(record: unknown, of: string, epoch: string): HoldRecord | undefined {
  if (!isCurrent(record, of, epoch)) return undefined;
  const { state, amounts, expiresAt, onExpiry, attempt } = record;
  const isKnown = state === "open" || state === "settled" || state === "released" || state === "refused";
  if (!isKnown || !isNumbers(amounts) || !isNumber(expiresAt)) throw garbage(of);
  if (onExpiry !== "charge" && onExpiry !== "release") throw garbage(of);
  const hold = { state, amounts, expiresAt, onExpiry } as const;
  return typeof attempt === "string" ? { ...hold, attempt } : hold;
}

export function headFrom(record: unknown): Head | undefined {
  if (record === undefined) return undefined;
  const { of, epoch, seq, writer, accounts } = fields(record, "head");
  if (of !== "head" || typeof epoch !== "string" || epoch === "" || !isNumber(seq)) throw garbage("head");
  if (typeof writer !== "string" || !isNumbers(accounts)) throw garbage("head");
  return { epoch, seq, writer, accounts };
}

export function redoFrom(record: unknown): Redo | undefined {
  if (record === undefined) return undefined;
  const { of, epoch, seq, writes } = fields(record, "redo");
  if (of !== "redo" || typeof epoch !== "string" || !isNumber(seq) || !Array.isArray(writes)) throw garbage("redo");
  return {
    epoch,
    seq,
    writes: writes.map((write: unknown): Write => {
      const [key, expires, value] = Array.isArray(write) ? (write as unknown[]) : [];
      if (typeof key !== "string" || !(expires === null || isNumber(expires))) throw garbage("redo");
      return { key, expires: expires ?? undefined, json: value === null ? undefined : JSON.stringify(value) };
    }),
  };
}

function isCurrent(record: unknown, of: string, epoch: string): record is Record<string, unknown> {
  if (record === undefined) return false;
  const found = fields(record, of);
  // Another record than the one asked for: a store that mixes its answers up would charge the wrong account.
  if (found["of"] !== of || typeof found["epoch"] !== "string") throw garbage(of);
  return found["epoch"] === epoch;
}

function fields(record: unknown, of: string): Record<string, unknown> {
  if (typeof record !== "object" || record === null) throw garbage(of);
  return record as Record<string, unknown>;
}

function isSeries(value: unknown): value is Series {
  if (typeof value !== "object" || value === null) return false;
  const { id, b, h, g, k, m } = value as Record<string, unknown>;
  if (typeof id !== "string" || !isNumbers(b) || !isNumber(h) || !isNumbers(g) || !isNumber(k)) return false;
  return b.length % 2 === 0 && g.length % 3 === 0 && (m === undefined || (isNumbers(m) && m.length === 3));
}

function isState(value: unknown): value is AccountState {
  if (typeof value !== "object" || value === null) return false;
  const { version, limitDelta, notes } = value as Record<string, unknown>;
  return isNumber(version) && isNumber(limitDelta) && typeof notes === "object" && notes !== null;
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isNumber);
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function garbage(of: string): Error {
  return new Error(`the record of "${of}" is not one that this ledger wrote`);
}
