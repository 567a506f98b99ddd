import type { Write } from "./keyv-records.js";

interface Doubt {
  /** Writes of this key that have not come back. */
  open: number;
  /** What the key holds for us, whatever the store says; undefined until it has been read or written again. */
  known: Write | undefined;
}

/**
 * Keys on which a write was given up. It may still land, over newer values: until it has come back the key is answered from
 * here, and then written once more.
 */
export class KeyvDoubts {
  readonly #doubts = new Map<string, Doubt>();

  get(key: string): Write | undefined {
    return this.#doubts.get(key)?.known;
  }

  /** What a read found counts from now on. */
  pin(key: string, found: () => Write): void {
    if (this.#doubts.size === 0) return;
    const doubt = this.#doubts.get(key);
    if (doubt !== undefined) doubt.known ??= found();
  }

  /** What has to be written once more. */
  repairs(): Write[] {
    const repairs: Write[] = [];
    for (const { open, known } of this.#doubts.values()) if (open === 0 && known !== undefined) repairs.push(known);
    return repairs;
  }

  /** To be called before a write, and what it answers when that was acknowledged: nothing older can land on these keys. */
  sending(writes: readonly Write[]): () => void {
    if (this.#doubts.size === 0) return () => {};
    const calm = writes.filter(({ key }) => this.#doubts.get(key)?.open === 0);
    return () => {
      for (const write of writes) {
        const doubt = this.#doubts.get(write.key);
        if (doubt !== undefined) doubt.known = write;
      }
      for (const { key } of calm) if (this.#doubts.get(key)?.open === 0) this.#doubts.delete(key);
    };
  }

  /** A write was given up while it was on its way; to be called when it has come back: what this answers. */
  gaveUp(writes: readonly Write[]): () => void {
    for (const { key } of writes) {
      const doubt = this.#doubts.get(key) ?? { open: 0, known: undefined };
      doubt.open++;
      this.#doubts.set(key, doubt);
    }
    return () => {
      for (const { key } of writes) {
        const doubt = this.#doubts.get(key)!;
        doubt.open--;
        // Never read since: what the store shows from now on is all there is.
        if (doubt.open === 0 && doubt.known === undefined) this.#doubts.delete(key);
      }
    };
  }
}
