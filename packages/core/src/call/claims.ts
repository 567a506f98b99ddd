import type { Claim, Measure, Reading, Scope, Shortfall, Window } from "../domain/claim.js";
import type { Labels } from "../domain/labels.js";
import { MAX_USD, NANO, PICO_PER_NANO, toNano } from "../domain/money.js";
import { accountOf } from "../ledger/account.js";
import type { Meter, MeterClaim, MeterReading, Shortage } from "../ledger/ledger.js";
import { resetsAt, seriesOf } from "../ledger/window.js";

/** What a call needs of each measure, as fixed + perToken × n. Money in pico-USD. */
export interface Need {
  readonly usd: { readonly fixed: number; readonly perToken: number };
  readonly tokens: { readonly fixed: number; readonly perToken: number };
}

/** The part of a claim that does not depend on the call: made once per claim object. */
interface Compiled {
  readonly limit: number | "stored";
  readonly measure: Measure;
  readonly window: Window;
  readonly series: string;
  /** Where the claim itself names the account. */
  readonly meter: Meter | undefined;
}

const measures: readonly unknown[] = ["usd", "tokens", "calls", "in-flight"];
const one = { fixed: 1, perToken: 0 };
const nothing = { fixed: 0, perToken: 0 };

/** Turns rules' claims into the ledger's, and the ledger's answers back into the units rules speak. */
export class ClaimCompiler {
  readonly #timeZone: string;
  readonly #holds: boolean;
  readonly #compiled = new WeakMap<Claim, Compiled>();

  /** Without `holds` money and tokens are checked but not set aside (`reservation: "off"`). */
  constructor(timeZone: string, holds: boolean) {
    this.#timeZone = timeZone;
    this.#holds = holds;
  }

  /** Throws TypeError for a claim that makes no sense: a custom rule's mistake, which blocks the call. */
  check(claim: Claim): void {
    this.#compile(claim);
  }

  meter(claim: Claim, account: string): Meter {
    const { measure, window, series } = this.#compile(claim);
    return { account, measure, window, timeZone: this.#timeZone, series };
  }

  /** The meter of a claim on the account that its scope means for a call; undefined when the call lacks the label. */
  meterFor(claim: Claim, labels: Labels): Meter | undefined {
    const { meter } = this.#compile(claim);
    if (meter !== undefined) return meter;
    const account = accountOf(claim.scope, labels);
    return account === undefined ? undefined : this.meter(claim, account);
  }

  /** The claim on `meter`, its limit moved by `addNano` and, in shadow, only watched. */
  meterClaim(claim: Claim, meter: Meter, need: Need, addNano: number, shadow: boolean): MeterClaim {
    const { limit, measure } = this.#compile(claim);
    const amount = measure === "usd" || measure === "tokens" ? (this.#holds ? need[measure] : nothing) : one;
    return {
      meter,
      limit: addNano === 0 || limit === "stored" ? limit : Math.max(0, limit + addNano),
      fixed: amount.fixed,
      perToken: amount.perToken,
      scale: measure === "usd" ? PICO_PER_NANO : 1,
      shadow,
    };
  }

  #compile(claim: Claim): Compiled {
    let compiled = this.#compiled.get(claim);
    if (compiled === undefined) {
      const { scope, measure, window, limit, seen, drawFrom } = claim;
      if (!isScope(scope)) throw new TypeError('a claim\'s scope must be "workspace", "user" or { label }');
      if (!measures.includes(measure)) throw new TypeError(`a claim's measure must be one of ${measures.join(", ")}`);
      if (window !== "request" && !isWindow(window))
        throw new TypeError(
          "a claim's window must be a lifetime, a calendar unit, 1 to 366 days, or a sliding one of 1 ms to 366 days",
        );
      const most = measure === "usd" ? MAX_USD : Number.MAX_SAFE_INTEGER;
      if (limit !== "stored" && limit !== Infinity && !(typeof limit === "number" && limit >= 0 && limit <= most)) {
        throw new TypeError(`a claim's limit must be a number from 0 to ${most}, got ${String(limit)}`);
      }
      if (seen !== undefined && !(Number.isInteger(seen) && seen >= 0))
        throw new TypeError(`a claim's seen must be the version of a state, got ${String(seen)}`);
      if (drawFrom !== undefined && (typeof drawFrom?.id !== "string" || !Array.isArray(drawFrom.meters)))
        throw new TypeError("a claim's drawFrom must be a hold");
      if (window === "request") return { limit, measure, window: { kind: "lifetime" }, series: "", meter: undefined };
      const series = seriesOf(measure, window, this.#timeZone);
      const account = typeof scope === "object" && scope.value !== undefined ? accountOf(scope, {}) : undefined;
      compiled = {
        limit: measure === "usd" && typeof limit === "number" ? toNano(limit) : limit,
        measure,
        window,
        series,
        meter: account === undefined ? undefined : { account, measure, window, timeZone: this.#timeZone, series },
      };
      this.#compiled.set(claim, compiled);
    }
    return compiled;
  }
}

const units: readonly unknown[] = ["minute", "hour", "day", "week", "month"];
const MAX_DAYS = 366;
const MAX_SLIDING_MS = MAX_DAYS * 86_400_000;

function isScope(scope: unknown): scope is Scope {
  if (scope === "workspace" || scope === "user") return true;
  const { label, value } = (typeof scope === "object" && scope !== null ? scope : {}) as {
    label?: unknown;
    value?: unknown;
  };
  return typeof label === "string" && label !== "" && (value === undefined || typeof value === "string");
}

function isWindow(window: Window): boolean {
  switch (window.kind) {
    case "lifetime":
      return true;
    case "calendar":
      return units.includes(window.unit);
    case "days":
      return Number.isInteger(window.days) && window.days >= 1 && window.days <= MAX_DAYS;
    case "sliding":
      return typeof window.ms === "number" && window.ms >= 1 && window.ms <= MAX_SLIDING_MS;
    default:
      return false;
  }
}

/** A refused claim in the units of the rule that made it. */
export function shortfallOf(claim: Claim, { meter }: MeterClaim, shortage: Shortage, now: number): Shortfall {
  const unit = claim.measure === "usd" ? NANO : 1;
  const { limit, settled, held, want, floor, retryAfterMs } = shortage;
  const resets = resetsAt(meter, now);
  return {
    claim,
    limit: limit / unit,
    settled: settled / unit,
    held: held / unit,
    needed: want / unit,
    available: Math.max(0, limit - settled - held) / unit,
    waitable: fitsLater(shortage, floor),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(resets === Infinity || meter.measure === "in-flight" ? {} : { resetsAt: new Date(resets).toISOString() }),
  };
}

/** What a call needed of a claim it did not fit under, for people. */
export function needsOf({ claim, needed }: Shortfall): string {
  switch (claim.measure) {
    case "usd":
      return `$${Number(needed.toPrecision(6))} at worst`;
    case "tokens":
      return `${needed} tokens at worst`;
    case "calls":
      return "one call";
    case "in-flight":
      return "one place";
  }
}

/** Whether `amount` would fit if every open hold returned unspent. */
export function fitsLater({ settled, limit }: Shortage, amount: number): boolean {
  return settled < limit && settled + amount <= limit;
}

/** A ledger's reading in the units rules speak. */
export function readingInUnits(measure: Measure, { settled, held, count, mean, variance }: MeterReading): Reading {
  const unit = measure === "usd" ? NANO : 1;
  if (count === undefined || mean === undefined || variance === undefined)
    return { settled: settled / unit, held: held / unit };
  return { settled: settled / unit, held: held / unit, count, mean: mean / NANO, variance: variance / NANO ** 2 };
}
