import { DriftlockError } from "./driftlock-error.js";

/** The store hung, threw or answered nonsense. By default the call is refused: nothing was sent. */
export class StoreError extends DriftlockError {
  static override readonly kind: string = "StoreError";
  readonly code: string = "STORE_FAILED";
  /** What the ledger was doing: `reserve`, `settle`, … */
  readonly operation: string;

  constructor(operation: string, problem: string, options?: { cause?: unknown }) {
    super(`The store failed at ${operation}: ${problem}. No call was let through by it; see onStoreFailure.`, options);
    this.operation = operation;
  }
}

/** The ledger's state is gone or another one stands in its place. Spending nothing is not assumed: see `policy.acceptLoss()`. */
export class StateLostError extends StoreError {
  static override readonly kind: string = "StateLostError";
  override readonly code = "STATE_LOST";

  constructor(operation: string, namespace: string) {
    super(
      operation,
      `the ledger "${namespace}" was opened with data that is no longer there (flushed, evicted or replaced). ` +
        "Restore it, or call policy.acceptLoss() to start again from zero",
    );
  }
}
