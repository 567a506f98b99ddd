import type { Meter } from "./meter.js";

/** Money, tokens and a slot set aside. It carries its meters and is JSON-able: any process can close it. */
export interface Hold {
  readonly id: string;
  /** The ledger's life in which it was made; "" for one made without the ledger, whose close is counted once by its id. */
  readonly epoch: string;
  /** One per series. */
  readonly meters: readonly Meter[];
  /** Held on each of `meters`. */
  readonly amounts: readonly number[];
  readonly expiresAt: number;
  readonly onExpiry: "charge" | "release";
  readonly named?: boolean;
  /** Whose it is where the caller chose the id: what is closed without the ledger's answer ends no other call of that id. */
  readonly attempt?: string;
  /** What came out of a slice; absent when nothing did. A close in time puts back what was not used, if the slice is open. */
  readonly drawn?: Drawn;
}

/** How much of a hold was taken from a slice. */
export interface Drawn {
  /** The slice's id. */
  readonly hold: string;
  /** For each of the hold's meters its index among the slice's meters; −1: none. */
  readonly at: readonly number[];
  /** For each of the hold's meters what was taken. */
  readonly amounts: readonly number[];
}
