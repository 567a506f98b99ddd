import type { Receipt } from "../domain/receipt.js";
import { DriftlockError, show } from "./driftlock-error.js";

/** A reported usage that cannot be true. The call has been settled at its bound (`receipt`): nothing is held, nothing lost. */
export class UsageError extends DriftlockError {
  static override readonly kind: string = "UsageError";
  readonly code = "INVALID_USAGE";
  readonly field: string;
  readonly value: unknown;
  readonly receipt: Receipt | undefined;

  constructor(details: { field: string; value: unknown; problem: string; receipt?: Receipt }) {
    super(`${details.field}: ${details.problem}; got ${show(details.value)}. The call was settled at its bound.`);
    this.field = details.field;
    this.value = details.value;
    this.receipt = details.receipt;
  }
}
