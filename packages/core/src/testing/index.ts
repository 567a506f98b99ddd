export { claimOf, meterOf, requestOf } from "./drive.js";
export type { LedgerBench, LedgerCase } from "./ledger-case.js";
export { ledgerCases, ledgerSuite, runLedgerCase, type LedgerSuiteOptions } from "./ledger-suite.js";
export { ManualClock } from "./manual-clock.js";
