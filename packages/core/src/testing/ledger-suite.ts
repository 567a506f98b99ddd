import type { Ledger, Maybe } from "../ledger/ledger.js";
import { closeCases } from "./cases/close.js";
import { leaseCases } from "./cases/lease.js";
import { reserveCases } from "./cases/reserve.js";
import { sizeCases } from "./cases/size.js";
import { sliceCases } from "./cases/slices.js";
import { stateCases } from "./cases/state.js";
import { windowCases } from "./cases/windows.js";
import type { LedgerCase } from "./ledger-case.js";
import { ManualClock } from "./manual-clock.js";

/** Every promise of the port that holds for one process. Any `Ledger` must keep them all. */
export const ledgerCases: readonly LedgerCase[] = [
  ...reserveCases,
  ...sizeCases,
  ...closeCases,
  ...leaseCases,
  ...windowCases,
  ...stateCases,
  ...sliceCases,
];

export interface LedgerSuiteOptions {
  /** The implementation's name. */
  readonly name: string;
  /** A new ledger over an empty store of its own, that takes its time from `clock`. */
  create(clock: ManualClock): Maybe<Ledger>;
  /** Of your test runner. */
  describe(name: string, run: () => void): void;
  it(name: string, run: () => Promise<void>): void;
}

/** Runs `ledgerCases` in any test runner. */
export function ledgerSuite({ name, create, describe, it }: LedgerSuiteOptions): void {
  describe(`the ledger suite over ${name}`, () => {
    for (const each of ledgerCases) {
      it(each.name, () => runLedgerCase(each, create));
    }
  });
}

/** Runs one case with a clock of its own and closes its ledgers. */
export async function runLedgerCase(each: LedgerCase, create: (clock: ManualClock) => Maybe<Ledger>): Promise<void> {
  const clock = new ManualClock();
  const ledgers: Ledger[] = [];
  try {
    await each.run({
      clock,
      async create() {
        const ledger = await create(clock);
        ledgers.push(ledger);
        return ledger;
      },
    });
  } finally {
    for (const ledger of ledgers) await ledger.close();
  }
}
