import {
  accountFrom,
  accountJson,
  headJson,
  holdFrom,
  holdJson,
  lastDayOf,
  startOfDay,
  type Head,
  type KeyvKeys,
  type Write,
} from "./keyv-records.js";
import { REMEMBER_MS, type Account, type HoldRecord, type Shelf } from "./shelf.js";

/** The working copies of one group commit. They are thrown away with it, so a commit that fails leaves nothing behind. */
export class KeyvShelf implements Shelf {
  readonly epoch: string;
  readonly #keys: KeyvKeys;
  readonly #records: ReadonlyMap<string, unknown>;
  readonly #head: Head;
  readonly #now: number;
  readonly #accounts = new Map<string, Account | undefined>();
  readonly #holds = new Map<string, HoldRecord | undefined>();
  /** Changed accounts and the day on which they were to be forgotten; undefined: new. */
  readonly #changed = new Map<string, number | undefined>();
  /** Holds put or dropped, and whether the store has them. */
  readonly #touched = new Map<string, boolean>();
  #made = 0;

  /** @param records What the store answered for every key the group may touch. */
  constructor(keys: KeyvKeys, head: Head, records: ReadonlyMap<string, unknown>, now: number) {
    this.epoch = head.epoch;
    this.#keys = keys;
    this.#head = head;
    this.#records = records;
    this.#now = now;
  }

  account(key: string): Account | undefined {
    let account = this.#accounts.get(key);
    if (account === undefined && !this.#accounts.has(key)) {
      account = accountFrom(this.#record(this.#keys.account(key)), key, this.epoch);
      this.#accounts.set(key, account);
    }
    return account;
  }

  change(key: string): Account {
    let account = this.account(key);
    if (!this.#changed.has(key)) this.#changed.set(key, account && lastDayOf(account));
    if (account === undefined) {
      this.#accounts.set(key, (account = { s: [], idleAt: 0 }));
      this.#made++;
    }
    return account;
  }

  accountCount(): number {
    const { accounts } = this.#head;
    let count = this.#made;
    for (let at = 0; at < accounts.length; at += 2) if (this.#isLive(accounts[at]!)) count += accounts[at + 1]!;
    return count;
  }

  hold(id: string): HoldRecord | undefined {
    let hold = this.#holds.get(id);
    if (hold === undefined && !this.#holds.has(id)) {
      hold = holdFrom(this.#record(this.#keys.hold(id)), id, this.epoch);
      this.#holds.set(id, hold);
    }
    return hold;
  }

  putHold(id: string, record: HoldRecord): void {
    this.#touch(id);
    this.#holds.set(id, record);
  }

  dropHold(id: string): void {
    this.#touch(id);
    this.#holds.set(id, undefined);
  }

  /** Everything that has changed, the head last; nothing when nothing has. */
  writes(seq: number, writer: string): Write[] {
    const writes: Write[] = [];
    for (const key of this.#changed.keys()) {
      const account = this.#accounts.get(key)!;
      const day = lastDayOf(account);
      const expires = day === 0 ? undefined : startOfDay(day);
      writes.push({ key: this.#keys.account(key), json: accountJson(key, this.epoch, account), expires });
    }
    for (const [id, isStored] of this.#touched) {
      const hold = this.#holds.get(id);
      const key = this.#keys.hold(id);
      if (hold !== undefined) {
        writes.push({ key, json: holdJson(id, this.epoch, hold), expires: hold.expiresAt + REMEMBER_MS });
      } else if (isStored) {
        writes.push({ key, json: undefined, expires: undefined });
      }
    }
    if (writes.length === 0) return writes;
    const head = { epoch: this.epoch, seq, writer, accounts: this.#counted() };
    writes.push({ key: this.#keys.head, json: headJson(head), expires: undefined });
    return writes;
  }

  #counted(): number[] {
    const days = new Map<number, number>();
    const { accounts } = this.#head;
    for (let at = 0; at < accounts.length; at += 2) days.set(accounts[at]!, accounts[at + 1]!);
    for (const [key, before] of this.#changed) {
      const day = lastDayOf(this.#accounts.get(key)!);
      if (day === before) continue;
      if (before !== undefined) days.set(before, (days.get(before) ?? 1) - 1);
      days.set(day, (days.get(day) ?? 0) + 1);
    }
    return [...days].filter(([day, count]) => count > 0 && this.#isLive(day)).flat();
  }

  #isLive(day: number): boolean {
    return day === 0 || startOfDay(day) > this.#now;
  }

  #touch(id: string): void {
    if (!this.#touched.has(id)) this.#touched.set(id, this.hold(id) !== undefined);
  }

  #record(key: string): unknown {
    if (!this.#records.has(key)) throw new Error(`"${key}" was not read before it was used`);
    return this.#records.get(key);
  }
}
