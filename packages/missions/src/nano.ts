/** Money in the ledger is an integer of nano-USD; the public edge speaks USD. */
const NANO = 1_000_000_000;

/** nano-USD of an amount in USD, to the nearest: 0.29 × 1e9 is 289999999.99999994 in floating point. */
export function toNano(usd: number): number {
  return Math.round(usd * NANO);
}

export function toUsd(nano: number): number {
  return nano / NANO;
}
