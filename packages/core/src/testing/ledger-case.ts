import type { Ledger, Maybe } from "../ledger/ledger.js";
import type { ManualClock } from "./manual-clock.js";

/** What a case works with. */
export interface LedgerBench {
  /** The clock of every ledger that `create` gives. */
  readonly clock: ManualClock;
  /** A new ledger over an empty store of its own. */
  create(): Maybe<Ledger>;
}

/** One promise of the ledger port, as a sentence and its proof. */
export interface LedgerCase {
  readonly name: string;
  /** Throws when the ledger breaks the promise. */
  run(bench: LedgerBench): Promise<void>;
}
