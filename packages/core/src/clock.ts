/** Time, injected. This is the only file that reads the machine's clock or sets a timer. */
export interface Clock {
  /** ms since the epoch. */
  now(): number;
  /** Calls `run` once after `ms`; the answer cancels it. A timer never keeps the process alive by itself unless `hold` is set. */
  after(ms: number, run: () => void, options?: { hold?: boolean }): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, run, options) {
    const timer = setTimeout(run, ms);
    if (!options?.hold) timer.unref();
    return () => clearTimeout(timer);
  },
};

/** ms since some fixed moment: never set back, unlike a clock. */
export function monotonic(): number {
  return performance.now();
}
