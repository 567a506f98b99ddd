/** What is never told to end (a run that is aborted, or fails elsewhere) would stay for ever: the oldest go. */
const MOST = 10_000;

/** What a process keeps of runs and threads, by their id. All of it can be begun again: what counts is in the ledger. */
export class Remembered<T> {
  readonly #entries = new Map<string, Promise<T>>();

  /** What is known under `id`; begun, or gone on with after a restart, when nothing is. */
  of(id: string, begin: () => Promise<T>): Promise<T> {
    let entry = this.#entries.get(id);
    if (entry === undefined) {
      entry = begin();
      this.#entries.set(id, entry);
      // What could not begin is tried again by the next who asks.
      entry.catch(() => this.#entries.delete(id));
      if (this.#entries.size > MOST) this.#entries.delete(this.#entries.keys().next().value!);
    }
    return entry;
  }

  forget(id: string): void {
    this.#entries.delete(id);
  }
}
