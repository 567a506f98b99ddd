/** How often a property is tried: `most` times in CI, a fifth of that at a desk. */
export function runs(most: number): number {
  return process.env.CI ? most : Math.ceil(most / 5);
}

/** Options of a test that tries a property. */
export const patient = { timeout: 60_000 };
