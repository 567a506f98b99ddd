import { DriftlockError, show } from "./driftlock-error.js";

/** Fields may carry names of the caller's own: a model's, a user's. */
const MAX_FIELD = 300;

/** An option, a request, labels or messages that cannot be used: which field, the value and what is expected instead. */
export class ConfigError extends DriftlockError {
  static override readonly kind: string = "ConfigError";
  readonly code = "INVALID_INPUT";
  readonly field: string;
  readonly value: unknown;

  constructor(details: { field: string; value: unknown; problem: string; cause?: unknown }) {
    const field = details.field.length > MAX_FIELD ? `${details.field.slice(0, MAX_FIELD)}…` : details.field;
    super(`${field}: ${details.problem}; got ${show(details.value)}`, { cause: details.cause });
    this.field = field;
    this.value = details.value;
  }
}

/** Reads what was given from outside. Whatever throws meanwhile (a getter, a proxy) becomes a `ConfigError` of `field`. */
export function reading<T>(field: string, value: unknown, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (DriftlockError.isInstance(cause)) throw cause;
    throw new ConfigError({ field, value, problem: "cannot be read", cause });
  }
}
