/** Money inside is an integer of nano-USD (1e-9 USD); the public edge speaks USD as `number`. */

/** nano-USD in one USD. */
export const NANO = 1_000_000_000;
/** pico-USD in one nano-USD: prices and bounds are kept in pico, so that they stay integers. */
export const PICO_PER_NANO = 1_000;
/** The largest limit in USD. 2^53 nano-USD is $9.007 M: above it integers of a double are no longer exact. */
export const MAX_USD = 9_000_000;

/**
 * A limit in nano-USD, rounded to the nearest. Not `Math.round(usd * 1e9)`: 0.29 × 1e9 is 289999999.99999994 in floating
 * point, which rounding mends, and amounts of up to $9 M keep nine exact decimals.
 */
export function toNano(usd: number): number {
  return Math.round(usd * NANO);
}

/** A cost in nano-USD, rounded up, after float noise far under a nano-USD is removed (0.1 × 1e9 stays 100000000). */
export function costToNano(usd: number): number {
  const nano = usd * NANO;
  const nearest = Math.round(nano);
  return Math.abs(nano - nearest) <= Math.max(1e-6, nano * 1e-15) ? nearest : Math.ceil(nano);
}

/** USD of an amount of nano-USD. */
export function toUsd(nano: number): number {
  return nano / NANO;
}
