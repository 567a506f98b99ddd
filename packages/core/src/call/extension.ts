import type { Clock } from "../clock.js";
import type { Claim } from "../domain/claim.js";
import { ConfigError } from "../errors/config-error.js";
import type { PolicyEventName, PolicyEvents } from "../events/events.js";
import { accountOf } from "../ledger/account.js";
import type { Ledger, Maybe, Meter } from "../ledger/ledger.js";
import type { Parts } from "./parts.js";

/** What packages build on that bring rules with a memory of their own, as missions do. */
export interface PolicyExtension {
  readonly clock: Clock;
  readonly ledger: Ledger;
  /** ms a hold lives without being renewed. */
  readonly leaseMs: number;
  /** ms the store has for one answer. */
  readonly storeTimeoutMs: number;
  /** "off": money and tokens are checked, not set aside. */
  readonly reservation: "exact" | "off";
  /** Whether `policy.close()` was called. */
  isClosed(): boolean;
  /** The meter of a claim whose scope names one account: "workspace", or `{ label, value }`. */
  meter(claim: Claim): Meter;
  /** The ledger's answer: at once when it has one, else within `storeTimeoutMs`. Every failure is a `StoreError`. */
  ask<T>(operation: string, ask: (ledger: Ledger) => Maybe<T>): Maybe<T>;
  /** Tries in the background until the ledger acknowledges; `policy.close()` waits for it. `id` names it in events. */
  insist(operation: string, id: string, ask: (ledger: Ledger) => Maybe<unknown>): void;
  /** Tells the listeners of `policy.on`. The event is built only when somebody listens. */
  emit<Name extends PolicyEventName>(name: Name, build: () => PolicyEvents[Name]): void;
  /** Tells of a caller's own function that failed, as for listeners. */
  report(error: unknown, name: string): void;
}

/** @param isClosed Whether the engine was closed. */
export function extensionOf(
  { clock, ledger, guard, options, compiler, emitter }: Parts,
  isClosed: () => boolean,
): PolicyExtension {
  return {
    clock,
    ledger,
    leaseMs: options.leaseMs,
    storeTimeoutMs: options.storeTimeoutMs,
    reservation: options.reservation,
    isClosed,
    meter(claim) {
      const account = accountOf(claim.scope, {});
      if (account !== undefined) return compiler.meter(claim, account);
      throw new ConfigError({ field: "claim.scope", value: claim.scope, problem: "must name one account" });
    },
    ask: (operation, ask) => guard.ask(operation, undefined, () => ask(ledger)),
    insist: (operation, id, ask) => guard.insist(operation, id, () => ask(ledger)),
    emit: (name, build) => emitter.emit(name, build),
    report: (error, name) => emitter.report(error, name),
  };
}
