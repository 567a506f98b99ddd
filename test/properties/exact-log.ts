import type { Actual, Closed, Meter } from "@driftlock/core";
import { countsIn } from "./civil-time.js";

/** What one call asks of one series. */
export interface Part {
  readonly meter: Meter;
  readonly amount: number;
}

interface Call {
  readonly parts: readonly Part[];
  readonly onExpiry: "charge" | "release";
  ends: number;
  state: "open" | "expired" | "released" | "settled";
  /** What its lease's end charged, by part: to be replaced by a later close. */
  charged: { at: number; amounts: number[] } | undefined;
}

interface Entry {
  readonly series: string;
  readonly amount: number;
  readonly at: number;
}

/**
 * The slow, plain ledger: every amount ever charged with its instant, every call with its state, and nothing added up. It knows
 * the rules of the contract (§2.4, §6), not the book's ways to keep them.
 */
export class ExactLog {
  readonly #entries: Entry[] = [];
  readonly #calls = new Map<string, Call>();

  reserve(
    id: string,
    parts: readonly Part[],
    lease: { ms: number; onExpiry: "charge" | "release" },
    now: number,
  ): void {
    this.#expire(now);
    this.#calls.set(id, {
      parts,
      onExpiry: lease.onExpiry,
      ends: endOf(now + lease.ms),
      state: "open",
      charged: undefined,
    });
    for (const { meter, amount } of parts) if (meter.measure === "calls") this.#charge(meter, amount, now);
  }

  settle(id: string, actual: Actual, now: number): Closed["outcome"] {
    this.#expire(now);
    const call = this.#calls.get(id)!;
    if (call.state === "settled") return "duplicate";
    const outcome = call.state === "open" ? "settled" : "corrected";
    this.#replace(call, actual, now);
    call.state = "settled";
    return outcome;
  }

  release(id: string, now: number): Closed["outcome"] {
    this.#expire(now);
    const call = this.#calls.get(id)!;
    if (call.state === "settled" || call.state === "released") return "duplicate";
    const outcome = call.state === "open" ? "released" : "corrected";
    this.#replace(call, { usd: 0, tokens: 0, known: false }, now);
    call.state = "released";
    return outcome;
  }

  renew(id: string, ms: number, now: number): boolean {
    this.#expire(now);
    const call = this.#calls.get(id)!;
    if (call.state !== "open") return false;
    call.ends = endOf(now + ms);
    return true;
  }

  /** How long the lease of a call has been over (ms); 0 while it is not. */
  overdue(id: string, now: number): number {
    return Math.max(0, now - this.#calls.get(id)!.ends);
  }

  held(meter: Meter, now: number): number {
    this.#expire(now);
    let held = 0;
    for (const { state, parts } of this.#calls.values()) {
      if (state !== "open" || meter.measure === "calls") continue;
      for (const part of parts) if (seriesOf(part.meter) === seriesOf(meter)) held += part.amount;
    }
    return held;
  }

  /** What is settled in a window of dates, or in the last `ms` milliseconds. */
  settled(meter: Meter, now: number, ms = Infinity): number {
    this.#expire(now);
    let settled = 0;
    for (const { series, amount, at } of this.#entries) {
      if (series !== seriesOf(meter)) continue;
      const counts = meter.window.kind === "sliding" ? at > now - ms : countsIn(meter.window, at, now, meter.timeZone);
      if (counts) settled += amount;
    }
    return settled;
  }

  #expire(now: number): void {
    for (const call of this.#calls.values()) {
      if (call.state !== "open" || now < call.ends) continue;
      call.state = "expired";
      if (call.onExpiry === "release") continue;
      const amounts = call.parts.map(({ meter, amount }) => (isMoney(meter) ? amount : 0));
      call.charged = { at: call.ends, amounts };
      call.parts.forEach(({ meter }, i) => this.#charge(meter, amounts[i]!, call.ends));
    }
  }

  /** Charges what was used in the place of what the lease's end charged: less goes to where that stands, more to now. */
  #replace(call: Call, actual: Actual, now: number): void {
    call.parts.forEach(({ meter }, i) => {
      if (!isMoney(meter)) return;
      const used = meter.measure === "usd" ? actual.usd : actual.tokens;
      const difference = used - (call.charged?.amounts[i] ?? 0);
      this.#charge(meter, difference, difference < 0 ? call.charged!.at : now);
    });
    call.charged = undefined;
  }

  #charge(meter: Meter, amount: number, at: number): void {
    if (amount !== 0) this.#entries.push({ series: seriesOf(meter), amount, at });
  }
}

function isMoney({ measure }: Meter): boolean {
  return measure === "usd" || measure === "tokens";
}

function seriesOf({ account, series }: Meter): string {
  return `${account} ${series}`;
}

/** Leases end by the second. */
function endOf(expiresAt: number): number {
  return Math.ceil(expiresAt / 1_000) * 1_000;
}
