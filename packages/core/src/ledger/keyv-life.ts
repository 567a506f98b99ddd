import {
  headFrom,
  headJson,
  redoFrom,
  redoJson,
  type Head,
  type KeyvKeys,
  type Redo,
  type Write,
} from "./keyv-records.js";
import type { KeyvStore } from "./keyv-store.js";

/**
 * The life of the state in a store, from its first commit to its loss. The head names it (the epoch) and counts its commits;
 * the redo record holds the last one whole. The record needs no deleting: the next commit replaces it, and doing a commit
 * again that was done changes nothing.
 */
export class KeyvLife {
  /** Thrown when the state is not the one this ledger knows. */
  readonly lost = new Error("the state was lost");
  /** What the store holds has to be looked at, and maybe mended, before anything else: at first, and after every failure. */
  isUnsure = true;
  readonly #store: KeyvStore;
  readonly #keys: KeyvKeys;
  readonly #writer = newId();
  #epoch: string | undefined;
  /** The last commit begun, and the last acknowledged one. */
  #seq = 0;
  #done = 0;
  /** This ledger began the life: another process may have begun one at the same time, and won. */
  #isOwn = false;
  /** A commit whose redo record was stored and whose writes failed. */
  #unfinished: Redo | undefined;

  constructor(store: KeyvStore, keys: KeyvKeys) {
    this.#store = store;
    this.#keys = keys;
  }

  /** The head of this life. Throws `lost` when it is missing, of another life, or older than what was acknowledged. */
  check(head: Head | undefined): Head {
    if (head === undefined) throw this.lost;
    if (head.epoch !== this.#epoch) {
      if (!this.#isOwn || this.#done > 0) throw this.lost;
      this.#epoch = head.epoch;
      this.#isOwn = false;
    }
    if (head.writer === this.#writer && head.seq < this.#done) throw this.lost;
    return head;
  }

  /**
   * Finds the life in the store, or begins one in an empty store, and finishes a commit that was broken off.
   *
   * @param isAccepted A loss is accepted: goes on with another life that is there, else begins a new one.
   */
  async recover(isAccepted: boolean): Promise<void> {
    const [headRecord, redoRecord] = await this.#store.read([this.#keys.head, this.#keys.redo]);
    const stored = redoFrom(redoRecord);
    const redo =
      this.#unfinished !== undefined && !(stored && stored.seq > this.#unfinished.seq) ? this.#unfinished : stored;
    let head = headFrom(headRecord);
    if (this.#epoch === undefined) {
      // A redo record without a head is not an empty store.
      if (head === undefined && redo === undefined) head = await this.#begin();
      this.#epoch = (head ?? redo)!.epoch;
    }
    try {
      head = this.check(head);
    } catch (error) {
      if (error !== this.lost || !isAccepted) throw error;
      head = head !== undefined && head.epoch !== this.#epoch ? head : await this.#begin();
      this.#epoch = head.epoch;
      this.#done = 0;
    }
    this.#seq = Math.max(this.#seq, head.seq);
    if (redo !== undefined && redo.epoch === head.epoch && redo.seq >= head.seq) {
      await this.#store.write(redo.writes);
      this.#seq = Math.max(this.#seq, redo.seq);
    }
    this.#unfinished = undefined;
    this.isUnsure = false;
  }

  /** Stores a group's writes, all or none. */
  async commit(head: Head, writesAt: (seq: number, writer: string) => readonly Write[]): Promise<void> {
    const seq = Math.max(this.#seq, head.seq) + 1;
    const writes = writesAt(seq, this.#writer);
    if (writes.length > 0) {
      const redo: Redo = { epoch: head.epoch, seq, writes };
      // Counted before it is tried: should it fail, and its redo record land later, that is older than the next one.
      this.#seq = seq;
      await this.#store.put({ key: this.#keys.redo, json: redoJson(redo), expires: undefined });
      this.#unfinished = redo;
    }
    await this.#store.write(writes);
    this.#unfinished = undefined;
    if (writes.length > 0) this.#done = seq;
  }

  async #begin(): Promise<Head> {
    const head: Head = { epoch: newId(), seq: ++this.#seq, writer: this.#writer, accounts: [] };
    await this.#store.write([{ key: this.#keys.head, json: headJson(head), expires: undefined }]);
    const [record] = await this.#store.read([this.#keys.head]);
    const stored = headFrom(record);
    if (stored === undefined) throw new Error("the store does not keep what is written to it");
    this.#isOwn = stored.epoch === head.epoch;
    return stored;
  }
}

function newId(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(0, 20);
}
