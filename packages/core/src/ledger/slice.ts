import type { Drawn, Hold, Meter } from "./ledger.js";
import type { HoldRecord } from "./shelf.js";

/** Money and tokens that were set aside beforehand: an open hold of another id, and what is left in it. */
export interface Slice {
  readonly hold: Hold;
  readonly record: HoldRecord;
}

/** What the slice still holds on the meter's series. */
export function leftIn(slice: Slice | undefined, meter: Meter): number {
  if (slice === undefined) return 0;
  const at = placeIn(slice.hold, meter);
  return at < 0 ? 0 : slice.record.amounts[at]!;
}

/** What a hold takes from the slice: all it can. Undefined: nothing. */
export function drawnFrom(slice: Slice, { meters, amounts }: Hold): Drawn | undefined {
  const at = meters.map((meter) => placeIn(slice.hold, meter));
  const taken = at.map((place, i) => (place < 0 ? 0 : Math.min(slice.record.amounts[place]!, amounts[i]!)));
  return taken.some((amount) => amount > 0) ? { hold: slice.hold.id, at, amounts: taken } : undefined;
}

/** The index of a meter's series among those a slice holds; −1: none. Only money and tokens can be drawn. */
export function placeIn({ meters }: Hold, { account, series, measure }: Meter): number {
  if (measure !== "usd" && measure !== "tokens") return -1;
  for (let i = 0; i < meters.length; i++) {
    if (meters[i]!.series === series && meters[i]!.account === account) return i;
  }
  return -1;
}
