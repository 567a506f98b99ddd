import type { Maybe } from "@driftlock/core";

/** Goes on with a ledger's answer: at once when it is there, so that a mission in memory never lags behind its calls. */
export function proceed<T, U>(answer: Maybe<T>, go: (value: T) => Maybe<U>): Maybe<U> {
  return answer instanceof Promise ? answer.then(go) : go(answer);
}
