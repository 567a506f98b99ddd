import type { Clock } from "../clock.js";

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/** A clock that stands until it is moved. Timers run while it moves, in the order of their time. */
export class ManualClock implements Clock {
  #now: number;
  #timers: Timer[] = [];

  /** @param start ms since the epoch. Default: 10 March 2026, 12:00 UTC, a Tuesday. */
  constructor(start = Date.UTC(2026, 2, 10, 12)) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), run };
    // Behind those of the same time: they run in the order in which they were set.
    const later = this.#timers.findIndex(({ at }) => at > timer.at);
    this.#timers.splice(later < 0 ? this.#timers.length : later, 0, timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Moves on by `ms`. What timers start asynchronously goes on only when the caller awaits something. */
  advance(ms: number): void {
    this.advanceTo(this.#now + ms);
  }

  /** Moves on to an instant (ms since the epoch); never back. */
  advanceTo(instant: number): void {
    if (!(instant >= this.#now)) throw new RangeError(`The clock cannot go from ${this.#now} to ${instant}`);
    for (let next = this.#timers[0]; next !== undefined && next.at <= instant; next = this.#timers[0]) {
      this.#timers.shift();
      this.#now = next.at;
      next.run();
    }
    this.#now = instant;
  }

  /** Timers not yet run. */
  get pending(): number {
    return this.#timers.length;
  }
}
