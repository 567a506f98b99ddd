import { systemClock, type Clock } from "../clock.js";
import { Book } from "./book.js";
import type { AccountPatch, Actual, Hold, Ledger, Meter, MeterClaim, ReserveRequest } from "./ledger.js";
import { isIdle, REMEMBER_MS, type Account, type HoldRecord, type Shelf } from "./shelf.js";

/** The ledger of one process: answers at once, forgets at exit. */
export class MemoryLedger implements Ledger {
  readonly atomicity = "process";
  readonly #clock: Clock;
  readonly #book: Book;

  constructor(options: { clock?: Clock } = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#book = new Book(new MemoryShelf(this.#clock));
  }

  reserve(request: ReserveRequest) {
    return this.#book.reserve(request, this.#clock.now());
  }
  check(claims: readonly MeterClaim[], n: { floor: number; want: number }, drawFrom?: Hold) {
    return this.#book.check(claims, n, drawFrom, this.#clock.now());
  }
  settle(hold: Hold, actual: Actual, views?: readonly Meter[]) {
    return this.#book.settle(hold, actual, views, this.#clock.now());
  }
  release(hold: Hold, views?: readonly Meter[]) {
    return this.#book.release(hold, views, this.#clock.now());
  }
  renew(holds: readonly Hold[], ms: number) {
    return this.#book.renew(holds, ms, this.#clock.now());
  }
  read(meters: readonly Meter[]) {
    return this.#book.read(meters, this.#clock.now());
  }
  amend(account: string, patch: AccountPatch, onceId?: string) {
    return this.#book.amend(account, patch, onceId);
  }
  acceptLoss() {}
  close() {}
}

/** A look at what can be forgotten is taken once in this many holds and new accounts: constant work, whatever the history. */
const SWEEP_EVERY = 32;

class MemoryShelf implements Shelf {
  /** A life of its own for each ledger: a hold of another one is not known here. */
  readonly epoch: string = crypto.randomUUID();
  readonly #clock: Clock;
  readonly #accounts = new Map<string, Account>();
  readonly #holds = new Map<string, HoldRecord>();
  #changes = 0;
  #hand = this.#accounts.entries();
  #holdHand = this.#holds.entries();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  account(key: string): Account | undefined {
    return this.#accounts.get(key);
  }

  change(key: string): Account {
    let account = this.#accounts.get(key);
    if (account === undefined) {
      // Before the new one is there: empty as it is, it would be forgotten.
      this.#forgetSome();
      this.#accounts.set(key, (account = { s: [], idleAt: 0 }));
    }
    return account;
  }

  accountCount(): number {
    this.#forgetAccounts(this.#clock.now());
    return this.#accounts.size;
  }

  hold(id: string): HoldRecord | undefined {
    return this.#holds.get(id);
  }

  putHold(id: string, record: HoldRecord): void {
    this.#holds.set(id, record);
    this.#forgetSome();
  }

  dropHold(id: string): void {
    this.#holds.delete(id);
  }

  #forgetSome(): void {
    if (++this.#changes % SWEEP_EVERY !== 0) return;
    const now = this.#clock.now();
    this.#forgetHolds(now);
    this.#forgetAccounts(now);
  }

  #forgetHolds(now: number): void {
    for (let looked = 0; looked < 2 * SWEEP_EVERY; looked++) {
      const next = this.#holdHand.next();
      if (next.done) {
        this.#holdHand = this.#holds.entries();
        return;
      }
      const [id, { expiresAt }] = next.value;
      if (expiresAt + REMEMBER_MS <= now) this.#holds.delete(id);
    }
  }

  /** The hand goes round: each account is looked at once in `size` ÷ 64 looks. */
  #forgetAccounts(now: number): void {
    const looks = Math.min(2 * SWEEP_EVERY, this.#accounts.size);
    for (let looked = 0; looked < looks; looked++) {
      let next = this.#hand.next();
      if (next.done) {
        this.#hand = this.#accounts.entries();
        next = this.#hand.next();
        if (next.done) return;
      }
      const [key, account] = next.value;
      if (isIdle(account, now)) this.#accounts.delete(key);
    }
  }
}
