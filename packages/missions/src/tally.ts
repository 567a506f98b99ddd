/** Calls counted by a key. Money in nano-USD. */
export interface Row {
  calls: number;
  nano: number;
  tokens: number;
  /** Calls whose usage was not known. */
  estimated: number;
}

/** Keys counted by themselves; the others are counted together, so that memory stays flat and everything still adds up. */
const MAX_KEYS = 64;
const OTHERS = "(others)";

/** Sums by a key. */
export class Tally {
  readonly #rows = new Map<string, Row>();

  #lastKey: string | undefined;
  #lastRow: Row | undefined;

  add(key: string, calls: number, nano: number, tokens: number, estimated: number): void {
    // Calls of one kind come in a row.
    let row = key === this.#lastKey ? this.#lastRow : this.#rows.get(key);
    if (row === undefined) {
      const name = this.#rows.size < MAX_KEYS ? key : OTHERS;
      row = this.#rows.get(name);
      if (row === undefined) this.#rows.set(name, (row = { calls: 0, nano: 0, tokens: 0, estimated: 0 }));
    }
    this.#lastKey = key;
    this.#lastRow = row;
    row.calls += calls;
    row.nano += nano;
    row.tokens += tokens;
    row.estimated += estimated;
  }

  rows(): readonly (readonly [string, Row])[] {
    return [...this.#rows];
  }

  toJSON(): unknown {
    return this.rows().map(([key, { calls, nano, tokens, estimated }]) => [key, calls, nano, tokens, estimated]);
  }

  /** Adds what `toJSON` wrote. */
  merge(written: unknown): void {
    for (const [key, calls, nano, tokens, estimated] of written as [string, number, number, number, number][])
      this.add(key, calls, nano, tokens, estimated);
  }
}
