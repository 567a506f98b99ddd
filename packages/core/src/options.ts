import type { Keyv } from "keyv";
import { systemClock, type Clock } from "./clock.js";
import { readLabels } from "./ambient/ambient.js";
import { mergeLabels, type Labels } from "./domain/labels.js";
import { MAX_USD } from "./domain/money.js";
import { MAX_TOKENS } from "./domain/usage.js";
import { ConfigError, reading } from "./errors/config-error.js";
import { messageOf } from "./errors/driftlock-error.js";
import { isTimeZone } from "./ledger/calendar.js";
import type { Ledger } from "./ledger/ledger.js";
import { checkRule, type Mode, type Rule } from "./policy/rule.js";
import { checkPrice } from "./pricing/compile-price.js";
import type { Price } from "./pricing/price.js";
import type { PricesOptions } from "./pricing/price-book.js";
import type { Tokenizer } from "./pricing/tokenizer.js";

/** Options of a `PolicyEngine`. One given as `undefined` equals one not given. */
export interface PolicyEngineOptions {
  /** Judged in order; the first block ends the call. */
  rules: readonly Rule[];
  /** Where the ledger lives: a Keyv, a `Ledger`, or "memory". Default "memory", gone with the process. */
  store?: Keyv | Ledger | "memory" | undefined;
  /** Policies with the same store and namespace share their accounts. Default "driftlock". */
  namespace?: string | undefined;
  /** Prices of your own, and free providers. Default: list prices of the catalogue. */
  prices?: PricesOptions | undefined;
  /** Counts prompt tokens tighter than the default bound (UTF-8 bytes). */
  tokenizer?: Tokenizer | undefined;
  clock?: Clock | undefined;
  /** IANA zone of days, weeks and months. Default "UTC". */
  timeZone?: string | undefined;
  /** Labels of every call, under ambient and per-call ones. */
  defaultLabels?: Labels | undefined;
  /** Labels whose spend is kept though no rule limits it, so that a later rule sees the month. */
  track?: readonly string[] | undefined;
  /** "shadow": everything is recorded, nothing is refused. Default "enforce". */
  mode?: Mode | undefined;
  /** "off": money and tokens are checked, not held; parallel calls can then pass a limit. Default "exact". */
  reservation?: "exact" | "off" | undefined;
  /** Output tokens of a call without a maximum; sent as its maximum. Default 4096, for reasoning models 16384. */
  defaultMaxOutputTokens?: number | undefined;
  /** Output tokens assumed where no maximum can be sent (callback handlers). Default 1000. */
  assumedOutputTokens?: number | undefined;
  /** The least output tokens worth sending when money is short. Default 256, for reasoning models 4096. */
  minOutputTokens?: number | undefined;
  /** Lower a caller's own maximum when money is short. Default false. */
  clamp?: boolean | undefined;
  /** ms a call waits for holds of other calls. Default 10,000; 0: never. */
  waitMs?: number | undefined;
  /** Calls that may wait at once; further ones are refused. Default 1000. */
  maxWaiters?: number | undefined;
  /** ms after which the holds of a dead process end. Default 60,000. */
  leaseMs?: number | undefined;
  /** ms after which a live process closes a call nobody closed. Default 600,000. */
  maxCallMs?: number | undefined;
  /** What the end of a lease does with money: charge the bound, or give it back. Default "charge". */
  onLeaseExpiry?: "charge" | "release" | undefined;
  /** A model without a known price: refused, let through unpriced, or priced like this. Default "deny". */
  unknownModel?: "deny" | "allow" | Price | undefined;
  /** A store that fails: refuse calls, let them through, or let them through up to an amount per process. Default "deny". */
  onStoreFailure?: "deny" | "allow" | { readonly localMaxUsd: number } | undefined;
  /** ms the store has to answer. Default 500. */
  storeTimeoutMs?: number | undefined;
  /** Refuse, at construction, a store that is not atomic across all processes. */
  requireAtomicity?: "all-processes" | undefined;
  /** Accounts (users, label values) kept at most; a new one beyond it is refused. Default: no bound. */
  maxAccounts?: number | undefined;
  /** Errors of listeners and of `onClosed`. Default: a process warning. */
  onListenerError?: ((error: unknown, name: string) => void) | undefined;
  /** Says that a failed call was certainly not billed, beyond HTTP 4xx and connections never made. */
  isUnbilled?: ((error: unknown) => boolean) | undefined;
}

type Defaulted =
  | "namespace"
  | "clock"
  | "timeZone"
  | "defaultLabels"
  | "track"
  | "mode"
  | "reservation"
  | "assumedOutputTokens"
  | "clamp"
  | "waitMs"
  | "maxWaiters"
  | "leaseMs"
  | "maxCallMs"
  | "onLeaseExpiry"
  | "unknownModel"
  | "onStoreFailure"
  | "storeTimeoutMs"
  | "onListenerError"
  | "prices";

export type ResolvedOptions = Omit<PolicyEngineOptions, Defaulted> & {
  readonly [K in Defaulted]-?: NonNullable<PolicyEngineOptions[K]>;
};

const DAY_MS = 86_400_000;
/** The last instant a `Date` can name, less a few years. */
const MAX_MS = 8.6e15;

/** Checks every option and fills in the defaults. Throws `ConfigError` naming the option and its value. */
export function resolveOptions(options: PolicyEngineOptions): ResolvedOptions {
  if (typeof options !== "object" || options === null) {
    throw new ConfigError({ field: "options", value: options, problem: "must be an object with rules" });
  }
  const given = reading("options", options, () => ({ ...options }));
  const check = (field: keyof PolicyEngineOptions, sound: (value: never) => boolean, problem: string) => {
    const value = given[field];
    if (value !== undefined && !reading(field, value, () => sound(value as never)))
      throw new ConfigError({ field, value, problem });
  };
  const oneOf = (field: keyof PolicyEngineOptions, ...words: readonly unknown[]) =>
    check(
      field,
      (value) => words.includes(value),
      `must be one of ${words.map((word) => JSON.stringify(word)).join(", ")}`,
    );
  const ms = (field: keyof PolicyEngineOptions, least: number, most = DAY_MS) =>
    check(field, (value) => isBetween(value, least, most), `must be a number of ms from ${least} to ${most}`);
  const whole = (field: keyof PolicyEngineOptions, least: number, most: number) =>
    check(
      field,
      (value) => Number.isInteger(value) && isBetween(value, least, most),
      `must be a whole number from ${least} to ${most}`,
    );
  const isFunction = (value: unknown) => typeof value === "function";

  const rules = reading("rules", given.rules, () => (Array.isArray(given.rules) ? Array.from(given.rules) : undefined));
  if (rules === undefined)
    throw new ConfigError({ field: "rules", value: given.rules, problem: "must be an array of rules" });
  rules.forEach((rule, i) => checkRule(rule, `rules[${i}]`));
  check(
    "namespace",
    (value: unknown) => typeof value === "string" && value !== "" && value.length <= 128,
    "must be a string of 1 to 128 characters",
  );
  check("tokenizer", (value) => hasMethods(value, "count"), "must have count(text)");
  check(
    "clock",
    (value: Clock) => hasMethods(value, "now", "after") && isBetween(value.now(), -MAX_MS, MAX_MS),
    "must have now(), in ms since the epoch, and after(ms, run)",
  );
  check("timeZone", isTimeZone, 'must be an IANA time zone such as "Europe/Berlin"');
  const defaultLabels = given.defaultLabels === undefined ? mergeLabels() : readLabels(given.defaultLabels);
  check(
    "track",
    // Array.from: a hole in the list is no label either.
    (value: unknown) =>
      Array.isArray(value) && Array.from(value).every((label) => typeof label === "string" && label !== ""),
    "must be an array of label names",
  );
  oneOf("mode", "enforce", "shadow");
  oneOf("reservation", "exact", "off");
  whole("defaultMaxOutputTokens", 1, MAX_TOKENS);
  whole("assumedOutputTokens", 1, MAX_TOKENS);
  whole("minOutputTokens", 1, MAX_TOKENS);
  oneOf("clamp", true, false);
  ms("waitMs", 0);
  whole("maxWaiters", 0, 10_000_000);
  ms("leaseMs", 50);
  ms("maxCallMs", 1);
  oneOf("onLeaseExpiry", "charge", "release");
  ms("storeTimeoutMs", 1);
  oneOf("requireAtomicity", "all-processes");
  whole("maxAccounts", 1, Number.MAX_SAFE_INTEGER);
  check("onListenerError", isFunction, "must be a function");
  check("isUnbilled", isFunction, "must be a function of the error");
  check(
    "unknownModel",
    (value: unknown) => value === "deny" || value === "allow" || (typeof value === "object" && value !== null),
    'must be "deny", "allow" or a price',
  );
  if (typeof given.unknownModel === "object")
    reading("unknownModel", given.unknownModel, () => checkPrice(given.unknownModel, "unknownModel"));
  check(
    "onStoreFailure",
    (value: unknown) =>
      value === "deny" ||
      value === "allow" ||
      isBetween((value as { localMaxUsd?: unknown } | null)?.localMaxUsd, 0, MAX_USD),
    `must be "deny", "allow" or { localMaxUsd } with 0 to ${MAX_USD} USD`,
  );
  check(
    "prices",
    (value: unknown) => typeof value === "object" && value !== null,
    "must be an object { overrides?, free? }",
  );

  return {
    ...given,
    rules,
    namespace: given.namespace ?? "driftlock",
    prices: given.prices ?? {},
    clock: given.clock ?? systemClock,
    timeZone: given.timeZone ?? "UTC",
    defaultLabels,
    track: [...(given.track ?? [])],
    mode: given.mode ?? "enforce",
    reservation: given.reservation ?? "exact",
    assumedOutputTokens: given.assumedOutputTokens ?? 1_000,
    clamp: given.clamp ?? false,
    waitMs: given.waitMs ?? 10_000,
    maxWaiters: given.maxWaiters ?? 1_000,
    leaseMs: given.leaseMs ?? 60_000,
    maxCallMs: given.maxCallMs ?? 600_000,
    onLeaseExpiry: given.onLeaseExpiry ?? "charge",
    unknownModel: given.unknownModel ?? "deny",
    onStoreFailure: given.onStoreFailure ?? "deny",
    storeTimeoutMs: given.storeTimeoutMs ?? 500,
    onListenerError: given.onListenerError ?? warn,
  };
}

function warn(error: unknown, name: string): void {
  process.emitWarning(`A listener of "${name}" failed: ${messageOf(error)}`, { code: "DRIFTLOCK_LISTENER" });
}

function hasMethods(value: unknown, ...names: string[]): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    names.every((name) => typeof (value as Record<string, unknown>)[name] === "function")
  );
}

function isBetween(value: unknown, least: number, most: number): boolean {
  return typeof value === "number" && value >= least && value <= most;
}
