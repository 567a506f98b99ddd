import { monotonic } from "../clock.js";

/** A best guess is kept this long (ms), so that a server whose time was set back is believed again. */
const BELIEVED_MS = 10_000;

/** The server's time without asking for it: the last time heard, and what has passed here since. Never ahead of the server. */
export class RedisTime {
  #best = -Infinity;
  #former = -Infinity;
  #since = -Infinity;

  /** An answer says what the time was when its script ran. */
  heard(at: number): void {
    const here = monotonic();
    const offset = at - here;
    if (here - this.#since > BELIEVED_MS) {
      this.#former = this.#best;
      this.#best = offset;
      this.#since = here;
    } else if (offset > this.#best) {
      this.#best = offset;
    }
  }

  /** ms since the epoch; −Infinity before the first answer. */
  now(): number {
    return Math.floor(Math.max(this.#best, this.#former) + monotonic());
  }
}
