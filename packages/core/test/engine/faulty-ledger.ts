import type {
  Actual,
  Closed,
  Hold,
  Ledger,
  Maybe,
  Meter,
  MeterClaim,
  ReserveRequest,
} from "../../src/ledger/ledger.js";
import { MemoryLedger } from "../../src/ledger/memory.js";
import type { PolicyEngineOptions } from "../../src/options.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { ManualClock } from "../../src/testing/manual-clock.js";
import { bench, month } from "./kit.js";

/**
 * How an operation goes wrong: it never arrives and never answers, throws at once, rejects, answers too late (having run when
 * it arrived, or only then), or runs while its answer is lost.
 */
export type Fault = "hang" | "throw" | "reject" | "late" | "delayed" | "lost";

type Operation = "reserve" | "check" | "settle" | "release" | "renew" | "read" | "amend";

const LATE_MS = 700;

/** A ledger in memory whose operations fail as told. */
export class FaultyLedger implements Ledger {
  readonly atomicity = "process";
  readonly inner: MemoryLedger;
  readonly faults = new Map<Operation, Fault>();
  /** Operations that arrived, failing ones too. */
  readonly asked: Operation[] = [];
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
    this.inner = new MemoryLedger({ clock });
  }

  fail(fault: Fault, ...operations: Operation[]): void {
    for (const operation of operations) this.faults.set(operation, fault);
  }

  heal(): void {
    this.faults.clear();
  }

  reserve(request: ReserveRequest) {
    return this.#do("reserve", () => this.inner.reserve(request));
  }
  check(claims: readonly MeterClaim[], n: { floor: number; want: number }, drawFrom?: Hold) {
    return this.#do("check", () => this.inner.check(claims, n, drawFrom));
  }
  settle(hold: Hold, actual: Actual, views?: readonly Meter[]): Maybe<Closed> {
    return this.#do("settle", () => this.inner.settle(hold, actual, views));
  }
  release(hold: Hold, views?: readonly Meter[]): Maybe<Closed> {
    return this.#do("release", () => this.inner.release(hold, views));
  }
  renew(holds: readonly Hold[], ms: number) {
    return this.#do("renew", () => this.inner.renew(holds, ms));
  }
  read(meters: readonly Meter[]) {
    return this.#do("read", () => this.inner.read(meters));
  }
  amend(account: string, patch: Parameters<Ledger["amend"]>[1], onceId?: string) {
    return this.#do("amend", () => this.inner.amend(account, patch, onceId));
  }
  acceptLoss() {}
  close() {}

  #do<T>(operation: Operation, run: () => T): Maybe<T> {
    this.asked.push(operation);
    switch (this.faults.get(operation)) {
      case undefined:
        return run();
      case "hang":
        return new Promise(() => undefined);
      case "throw":
        throw new Error("the disk is gone");
      case "reject":
        return Promise.reject(new Error("the disk is gone"));
      case "lost":
        run();
        return new Promise(() => undefined);
      case "late": {
        const answer = run();
        return new Promise((resolve) => this.#clock.after(LATE_MS, () => resolve(answer)));
      }
      case "delayed":
        return new Promise((resolve) => this.#clock.after(LATE_MS, () => resolve(run())));
    }
  }
}

export const faults: readonly Fault[] = ["hang", "throw", "reject", "late", "delayed", "lost"];

/** A policy of $1 a month on a ledger that can be made to fail. */
export function faulty(options: Partial<PolicyEngineOptions> = {}) {
  const clock = new ManualClock();
  const ledger = new FaultyLedger(clock);
  const rules = [new MonthlyBudgetRule({ maxUsd: 1 })];
  const { policy } = bench(rules, { storeTimeoutMs: 500, ...options, store: ledger, clock });
  /** What is really in the books, read by another policy on the healthy ledger. */
  const books = () => month(bench(rules, { store: ledger.inner, clock }).policy);
  return { policy, clock, ledger, books };
}

/** A ledger whose every answer takes a turn of the event loop's microtasks. */
export function lateLedger(inner: MemoryLedger): Ledger {
  return new Proxy(inner, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => Promise.resolve().then(() => Reflect.apply(value, target, args) as unknown);
    },
  }) as Ledger;
}
