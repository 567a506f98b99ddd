import type { Hold } from "./hold.js";
import type { Measure, Window } from "./meter.js";

export type { CalendarUnit, Measure, Window } from "./meter.js";

/**
 * Whose account: everybody's, the `user_id`'s, or a label's. `{ label, value }` names one account outright; without `value`
 * the call's own label decides, and a call that lacks the label makes no claim.
 */
export type Scope = "workspace" | "user" | { readonly label: string; readonly value?: string };

/**
 * "Allow, if this fits": what a rule attaches to its decision. The engine fills in the amount (worst-case cost, tokens, one
 * call); the ledger checks and holds. `window: "request"` limits the call by itself and touches no account.
 */
export interface Claim {
  readonly scope: Scope;
  readonly measure: Measure;
  readonly window: Window | "request";
  /** USD for `usd`, else a count. `"stored"`: the account's own limit, kept in the ledger. */
  readonly limit: number | "stored";
  /**
   * The version of the account's state the rule decided by. Where the ledger has another one nothing is held: the rule's
   * `onStale` is told, and the rules judge again.
   */
  readonly seen?: number;
  /** A slice the call may use: money set aside for it beforehand. Of several rules' slices the last one counts. */
  readonly drawFrom?: Hold;
}

/** Why a claim was refused, in the units of the claim (USD for `usd`). */
export interface Shortfall {
  readonly claim: Claim;
  readonly limit: number;
  readonly settled: number;
  readonly held: number;
  /** What the call needs: its worst case. */
  readonly needed: number;
  /** limit − settled − held, not under 0. */
  readonly available: number;
  /** The call would fit if every open hold returned unspent. */
  readonly waitable: boolean;
  /** ms until the window has turned far enough; absent when only holds or nothing can free room. */
  readonly retryAfterMs?: number;
  /** When the window turns over (ISO 8601); absent for lifetimes and single requests. */
  readonly resetsAt?: string;
}

/** What a meter shows, in the units of its measure (USD for `usd`). */
export interface Reading {
  readonly settled: number;
  readonly held: number;
  /** Known settlements behind `mean` and `variance`; lifetime money meters only. */
  readonly count?: number;
  /** Moving average cost of a call: e ← 0.3 x + 0.7 e. */
  readonly mean?: number;
  /** v ← 0.7 (v + 0.3 (x − e)²), e before the update. */
  readonly variance?: number;
}
