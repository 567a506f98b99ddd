import { DriftlockError } from "./driftlock-error.js";

/** An id names one physical attempt; this one is already known to the ledger. */
export class DuplicateCallError extends DriftlockError {
  static override readonly kind: string = "DuplicateCallError";
  readonly code = "DUPLICATE_CALL";
  readonly id: string;

  constructor(id: string) {
    super(
      `A call with id "${id.slice(0, 80)}" is already known. Every attempt needs an id of its own; leave id out for a fresh one.`,
    );
    this.id = id;
  }
}

/** A new account (user, label value) beyond `maxAccounts`: refused, so that a flood of names cannot fill the store. */
export class AccountLimitError extends DriftlockError {
  static override readonly kind: string = "AccountLimitError";
  readonly code = "ACCOUNT_LIMIT";
  readonly status = 402;
  readonly maxAccounts: number;

  constructor(maxAccounts: number) {
    super(
      `The ledger already keeps ${maxAccounts} accounts (maxAccounts); a new one was refused. Known accounts go on.`,
    );
    this.maxAccounts = maxAccounts;
  }
}
