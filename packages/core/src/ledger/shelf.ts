import type { AccountState } from "./ledger.js";
import type { Series } from "./series.js";

/** An account as stored. */
export interface Account {
  /** A handful at most: searched in line. */
  s: readonly Series[];
  /** Absent until amended. */
  state?: AccountState;
  /** The `onceId`s of changes made, latest last. */
  once?: string[];
  /** The instant (ms) from which nothing here counts any more. */
  idleAt: number;
}

/** What the book remembers of a call by its id. */
export interface HoldRecord {
  /** `refused`: released before it arrived; a reserve still on its way holds nothing. */
  state: "open" | "settled" | "released" | "refused";
  readonly amounts: readonly number[];
  expiresAt: number;
  readonly onExpiry: "charge" | "release";
  /** Of an open call with a chosen id: whose it is. */
  readonly attempt?: string;
}

/** Where a book keeps its records: a Map, or the working copies of one group commit. `account` and `hold` may be edited in place. */
export interface Shelf {
  readonly epoch: string;
  account(key: string): Account | undefined;
  /** The account, made when missing, about to be changed. */
  change(key: string): Account;
  accountCount(): number;
  hold(id: string): HoldRecord | undefined;
  putHold(id: string, record: HoldRecord): void;
  dropHold(id: string): void;
}

/** A closed call is remembered this long after its lease where that is needed (ms). */
export const REMEMBER_MS = 600_000;

/** Nothing in the account counts any more and nothing is held: it can be forgotten. */
export function isIdle(account: Account, now: number): boolean {
  return account.idleAt <= now;
}
