import type { Keyv } from "keyv";
import { systemClock, type Clock } from "../clock.js";
import { ConfigError } from "../errors/config-error.js";
import { StateLostError, StoreError } from "../errors/store-error.js";
import { Book } from "./book.js";
import { adapterOf, namespaceOf } from "./keyv-adapter.js";
import { KeyvLife } from "./keyv-life.js";
import { headFrom, KeyvKeys } from "./keyv-records.js";
import { KeyvShelf } from "./keyv-shelf.js";
import { KeyvStore } from "./keyv-store.js";
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

export interface KeyvLedgerOptions {
  /** Ledgers of one namespace on one store share their accounts. Default "driftlock". */
  readonly namespace?: string | undefined;
  readonly clock?: Clock | undefined;
  /** ms the store has for one commit. Default 500. */
  readonly timeoutMs?: number | undefined;
}

/** One operation on its way: what it will look at, and what it does to the book. */
interface Operation {
  readonly name: string;
  readonly accounts: readonly string[];
  readonly holds: readonly string[];
  readonly notAfter: number | undefined;
  readonly apply: (book: Book, now: number) => unknown;
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
  /** Commits that failed while it was waiting for its own. */
  missed: number;
}

/** A group ends at so many operations, or at so many keys: its redo record stays small enough for most stores. */
const MAX_OPERATIONS = 512;
const MAX_KEYS = 600;
/** A store may be too slow, or its values too small, for large groups: a quarter after a failure, then so many more each time. */
const GROWTH = 8;
/** An operation that has seen this many commits fail is not tried any more. */
const MAX_MISSED = 2;

/**
 * The ledger in any Keyv store: durable, and atomic within this process. All operations that wait are committed as one group,
 * in four round trips at most, whatever their number: read what they touch, store one redo record, write, and read back
 * where the adapter does not say that it wrote.
 */
export class KeyvLedger implements Ledger {
  readonly atomicity = "process";
  readonly #namespace: string;
  readonly #clock: Clock;
  readonly #keys: KeyvKeys;
  readonly #store: KeyvStore;
  readonly #life: KeyvLife;
  #waiting: Operation[] = [];
  #work: Promise<void> | undefined;
  #most = MAX_OPERATIONS;

  constructor(keyv: Keyv, options: KeyvLedgerOptions = {}) {
    const adapter = adapterOf(keyv);
    if (adapter === undefined) throw new ConfigError({ field: "store", value: keyv, problem: "must be a Keyv" });
    this.#namespace = options.namespace ?? "driftlock";
    this.#clock = options.clock ?? systemClock;
    this.#keys = new KeyvKeys(this.#namespace, namespaceOf(keyv));
    this.#store = new KeyvStore(keyv, adapter, {
      clock: this.#clock,
      timeoutMs: options.timeoutMs ?? 500,
      onLanded: () => this.#begin(),
    });
    this.#life = new KeyvLife(this.#store, this.#keys);
  }

  reserve(request: ReserveRequest): Promise<Reserved> {
    const accounts = request.claims.map(({ meter }) => meter.account);
    for (const { account } of request.seen ?? []) accounts.push(account);
    const holds = request.drawFrom === undefined ? [request.id] : [request.id, request.drawFrom.id];
    const apply = (book: Book, now: number) => book.reserve(request, now);
    return this.#enqueue("reserve", accounts, holds, apply, request.notAfter);
  }

  check(
    claims: readonly MeterClaim[],
    n: { floor: number; want: number },
    drawFrom?: Hold,
  ): Promise<readonly Shortage[]> {
    const accounts = claims.map(({ meter }) => meter.account);
    const holds = drawFrom === undefined ? [] : [drawFrom.id];
    return this.#enqueue("check", accounts, holds, (book, now) => book.check(claims, n, drawFrom, now));
  }

  settle(hold: Hold, actual: Actual, views?: readonly Meter[]): Promise<Closed> {
    const apply = (book: Book, now: number) => book.settle(hold, actual, views, now);
    return this.#enqueue("settle", accountsOf(hold.meters, views), idsOf(hold), apply);
  }

  release(hold: Hold, views?: readonly Meter[]): Promise<Closed> {
    const apply = (book: Book, now: number) => book.release(hold, views, now);
    return this.#enqueue("release", accountsOf(hold.meters, views), idsOf(hold), apply);
  }

  renew(holds: readonly Hold[], ms: number): Promise<readonly boolean[]> {
    const accounts = holds.flatMap((hold) => accountsOf(hold.meters));
    const ids = holds.map(({ id }) => id);
    return this.#enqueue("renew", accounts, ids, (book, now) => book.renew(holds, ms, now));
  }

  read(meters: readonly Meter[]): Promise<readonly MeterReading[]> {
    return this.#enqueue("read", accountsOf(meters), [], (book, now) => book.read(meters, now));
  }

  amend(account: string, patch: AccountPatch, onceId?: string): Promise<{ applied: boolean; state: AccountState }> {
    return this.#enqueue("amend", [account], [], (book) => book.amend(account, patch, onceId));
  }

  /** Nothing lost: does nothing. Another life in the store: goes on with that. Else begins a new one, at zero. */
  acceptLoss(): Promise<void> {
    return this.#enqueue("acceptLoss", [], [], () => undefined);
  }

  /** Resolves when nothing waits any more. The Keyv stays open, and so does the ledger: others may be using it. */
  async close(): Promise<void> {
    while (this.#work !== undefined) await this.#work;
  }

  #enqueue<T>(
    name: string,
    accounts: readonly string[],
    holds: readonly string[],
    apply: (book: Book, now: number) => T,
    notAfter?: number,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ name, accounts, holds, notAfter, apply, resolve, reject, missed: 0 });
      this.#begin();
    });
  }

  #begin(): void {
    this.#work ??= this.#drain();
  }

  async #drain(): Promise<void> {
    // Whatever is asked in this same turn joins the first group.
    await Promise.resolve();
    let isDone: boolean;
    do isDone = await this.#run(this.#take());
    while (this.#waiting.length > 0 || (isDone && this.#store.isDisturbed));
    this.#work = undefined;
  }

  /** The next group, without reserves nobody waits for any more. */
  #take(): Operation[] {
    const now = this.#clock.now();
    const group: Operation[] = [];
    let taken = 0;
    let keys = 0;
    while (taken < this.#waiting.length && group.length < this.#most && keys < MAX_KEYS) {
      const operation = this.#waiting[taken++]!;
      if (operation.notAfter !== undefined && now > operation.notAfter) {
        operation.resolve({ kind: "late" } satisfies Reserved as never);
        continue;
      }
      group.push(operation);
      keys += operation.accounts.length + operation.holds.length;
    }
    this.#waiting.splice(0, taken);
    return group;
  }

  async #run(group: Operation[]): Promise<boolean> {
    if (group.length === 0 && !this.#store.isDisturbed) return true;
    const isAccepted = group.some(({ name }) => name === "acceptLoss");
    try {
      if (this.#life.isUnsure || isAccepted) await this.#store.within(() => this.#life.recover(isAccepted));
      const answers = await this.#store.within(() => this.#commit(group));
      for (const [i, operation] of group.entries()) operation.resolve(answers[i] as never);
      this.#most = Math.min(MAX_OPERATIONS, this.#most + GROWTH);
      return true;
    } catch (error) {
      this.#life.isUnsure = true;
      this.#most = Math.max(1, group.length >> 2);
      for (const operation of group) operation.reject(this.#failure(operation, error));
      this.#dropImpatient(error);
      return false;
    }
  }

  /** All of the group, or nothing of it. */
  async #commit(group: Operation[]): Promise<unknown[]> {
    const keys = new Set([this.#keys.head]);
    for (const { accounts, holds } of group) {
      for (const account of accounts) keys.add(this.#keys.account(account));
      for (const id of holds) keys.add(this.#keys.hold(id));
    }
    const list = [...keys];
    const found = await this.#store.read(list);
    const records = new Map(list.map((key, i) => [key, found[i]]));
    const head = this.#life.check(headFrom(found[0]));

    const now = this.#clock.now();
    const shelf = new KeyvShelf(this.#keys, head, records, now);
    const book = new Book(shelf);
    const answers: unknown[] = [];
    for (const [i, operation] of group.entries()) {
      try {
        answers.push(operation.apply(book, now));
      } catch (error) {
        // Its half-done work is on the shelf: the others begin again, without it.
        operation.reject(this.#failure(operation, error));
        group.splice(i, 1);
        return this.#commit(group);
      }
    }
    await this.#life.commit(head, (seq, writer) => shelf.writes(seq, writer));
    return answers;
  }

  #dropImpatient(error: unknown): void {
    const patient: Operation[] = [];
    for (const operation of this.#waiting) {
      if (++operation.missed < MAX_MISSED) patient.push(operation);
      else operation.reject(this.#failure(operation, error));
    }
    this.#waiting = patient;
  }

  #failure({ name }: Operation, error: unknown): Error {
    if (error === this.#life.lost) return new StateLostError(name, this.#namespace);
    return new StoreError(name, error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** The holds a close touches: its own, and the slice it drew from. */
function idsOf({ id, drawn }: Hold): string[] {
  return drawn === undefined ? [id] : [id, drawn.hold];
}

function accountsOf(meters: readonly Meter[], views: readonly Meter[] = []): string[] {
  const accounts = meters.map(({ account }) => account);
  for (const { account } of views) accounts.push(account);
  return accounts;
}
