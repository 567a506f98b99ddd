import type { Actual, Hold, Meter, MeterClaim, ReserveRequest } from "./ledger.js";
import { keptMs } from "./window.js";

/** The hold a granted request gives, or one made without the ledger (epoch ""). Claims on one series are held once. */
export function holdOf(request: ReserveRequest, epoch: string, n: number, now: number): Hold {
  const meters: Meter[] = [];
  const amounts: number[] = [];
  for (const claim of request.claims) {
    const { meter } = claim;
    let at = 0;
    while (at < meters.length && (meters[at]!.series !== meter.series || meters[at]!.account !== meter.account)) at++;
    if (at === meters.length) {
      meters.push(meter);
      amounts.push(amountOf(claim, n));
    } else if (keptMs(meter) > keptMs(meters[at]!)) {
      // Several windows on one series: the longest decides how far back it is kept.
      meters[at] = meter;
    }
  }
  const { id, lease, named, attempt } = request;
  const hold = { id, epoch, meters, amounts, expiresAt: now + lease.ms, onExpiry: lease.onExpiry };
  if (!named) return hold;
  return attempt === undefined ? { ...hold, named } : { ...hold, named, attempt };
}

/** What a claim needs at n, in the integers of its measure. */
export function amountOf({ fixed, perToken, scale }: MeterClaim, n: number): number {
  return Math.ceil((fixed + perToken * n) / scale);
}

/** In-flight always comes back at the end of the lease, or five crashes would shut a limit of five for ever. */
export function isCharged(meter: Meter, { onExpiry }: { onExpiry: "charge" | "release" }): boolean {
  return onExpiry === "charge" && meter.measure !== "in-flight";
}

export function usedOn(meter: Meter, actual: Actual): number {
  return meter.measure === "usd" ? actual.usd : meter.measure === "tokens" ? actual.tokens : 0;
}
