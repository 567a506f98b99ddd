import type { AccountState } from "../domain/account-state.js";
import type { Hold } from "../domain/hold.js";
import type { Meter } from "../domain/meter.js";

// Words that rules speak too.
export type { AccountState, Hold, Meter };
export type { Drawn } from "../domain/hold.js";

/**
 * "Allow, if this fits": amount(n) = ⌈(fixed + perToken × n) ÷ scale⌉ on `meter`, where n is common to all claims of a call.
 * It fits when settled < limit and settled + held + amount ≤ limit.
 */
export interface MeterClaim {
  readonly meter: Meter;
  /** nano-USD, tokens or calls; `Infinity` meters without limiting; `"stored"` is the account's `limitDelta`. */
  readonly limit: number | "stored";
  readonly fixed: number;
  readonly perToken: number;
  /** 1000 for money (fixed and perToken in pico-USD), else 1. */
  readonly scale: number;
  /** Recorded like any other, never refused; a would-be refusal is reported in `shadowed`. */
  readonly shadow?: boolean;
}

export interface Lease {
  readonly ms: number;
  /** What the end of the lease does with money and tokens. Calls stay counted, in-flight always returns. */
  readonly onExpiry: "charge" | "release";
}

export interface ReserveRequest {
  readonly id: string;
  readonly claims: readonly MeterClaim[];
  /** n is granted in [floor, want]: exactly `want`, or with `take: "largest"` the largest that fits. */
  readonly floor: number;
  readonly want: number;
  readonly take: "want" | "largest";
  readonly lease: Lease;
  /** The caller chose the id: it is remembered after the close too, so that a second use is `duplicate`. */
  readonly named?: boolean;
  /** Tells this reserve of a chosen id from another's, should the answer be lost and the hold have to be given back. */
  readonly attempt?: string | undefined;
  /** Ledger time in ms after which nothing may be held any more: nobody is waiting for the answer. */
  readonly notAfter?: number;
  /** The versions of the accounts' states the caller decided by; others answer `stale`. */
  readonly seen?: readonly SeenState[];
  /**
   * A slice: an open hold of another id, whose money and tokens this call may use. On each series both claim, what the slice
   * still holds counts as room, and as much of it as the call needs moves from the slice to the call. A slice that is unknown,
   * closed or over helps nothing.
   */
  readonly drawFrom?: Hold | undefined;
  /** A new account beyond this many is refused. */
  readonly maxAccounts?: number;
}

/** Which version of an account's state somebody knows; 0: never amended. */
export interface SeenState {
  readonly account: string;
  readonly version: number;
}

/** A claim without room. Amounts in the measure's integers. */
export interface Shortage {
  /** Index in the claims of the request. */
  readonly claim: number;
  readonly limit: number;
  readonly settled: number;
  /** Held by others: without what the call's own slice still holds there. */
  readonly held: number;
  /** amount(want) and amount(floor). */
  readonly want: number;
  readonly floor: number;
  /** ms until the window has turned far enough for `want` with nothing held. */
  readonly retryAfterMs?: number;
}

export interface AccountPatch {
  readonly status?: string;
  readonly addLimit?: number;
  readonly by?: string;
  readonly reason?: string;
  /** Merged by key; null removes. */
  readonly notes?: Readonly<Record<string, string | null>>;
}

export type Reserved =
  | { readonly kind: "held"; readonly hold: Hold; readonly n: number; readonly shadowed: readonly Shortage[] }
  /** Every failing claim, in order. Nothing is held. */
  | { readonly kind: "short"; readonly shortages: readonly Shortage[] }
  /** Every account of `seen` whose state has another version, in order. Nothing is held. */
  | { readonly kind: "stale"; readonly states: readonly { readonly account: string; readonly state: AccountState }[] }
  | { readonly kind: "duplicate" }
  | { readonly kind: "full" }
  | { readonly kind: "late" };

export interface MeterReading {
  readonly settled: number;
  readonly held: number;
  /** Lifetime money series only: known settlements, their moving average (α = 0.3) and variance, in nano-USD. */
  readonly count?: number;
  readonly mean?: number;
  readonly variance?: number;
}

/** What a call really used. */
export interface Actual {
  /** nano-USD. */
  readonly usd: number;
  readonly tokens: number;
  /** The usage was reported, not estimated: it counts in the moving average. */
  readonly known: boolean;
}

export interface Closed {
  /**
   * `settled`, `released`: this close ended the hold. `corrected`: it had expired or was released, the charge was replaced.
   * `duplicate`: it was settled before, nothing changed. `orphan`: unknown here, the money was counted all the same.
   */
  readonly outcome: "settled" | "released" | "corrected" | "duplicate" | "orphan";
  /** One per meter of `views`. */
  readonly readings: readonly MeterReading[];
}

export type Maybe<T> = T | Promise<T>;

/**
 * The port. Every operation is one atomic step. In-process ledgers answer at once, others with a promise; failures are a
 * `StoreError`. All implementations pass `ledgerSuite` of `@driftlock/core/testing`.
 */
export interface Ledger {
  /** How far its steps are atomic. */
  readonly atomicity: "process" | "all-processes";
  /** All claims fit and are held, or nothing is. */
  reserve(request: ReserveRequest): Maybe<Reserved>;
  /** What a reserve of these claims would lack; holds nothing. */
  check(claims: readonly MeterClaim[], n: { floor: number; want: number }, drawFrom?: Hold): Maybe<readonly Shortage[]>;
  /** Ends a hold with what was really used, also beyond what was held. */
  settle(hold: Hold, actual: Actual, views?: readonly Meter[]): Maybe<Closed>;
  /** Ends a hold with nothing; of a slice, what calls have not drawn comes back. An unknown id is remembered, so that a reserve on its way holds nothing. */
  release(hold: Hold, views?: readonly Meter[]): Maybe<Closed>;
  /** Open holds get `ms` from now; true for each that is still open. */
  renew(holds: readonly Hold[], ms: number): Maybe<readonly boolean[]>;
  read(meters: readonly Meter[]): Maybe<readonly MeterReading[]>;
  /** Changes an account's state once per `onceId`. An empty patch reads it. */
  amend(account: string, patch: AccountPatch, onceId?: string): Maybe<{ applied: boolean; state: AccountState }>;
  /** Begins a new life at zero after `StateLostError`. */
  acceptLoss(): Maybe<void>;
  close(): Maybe<void>;
}
