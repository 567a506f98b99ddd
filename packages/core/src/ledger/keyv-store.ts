import type { Keyv } from "keyv";
import type { Clock } from "../clock.js";
import type { Adapter, Entry } from "./keyv-adapter.js";
import { codecOf, type Codec } from "./keyv-codec.js";
import { KeyvDoubts } from "./keyv-doubts.js";
import type { Write } from "./keyv-records.js";

/** Strict, bounded access to a Keyv's adapter: every odd answer is an error, and a late one does no harm. */
export class KeyvStore {
  readonly #adapter: Adapter;
  readonly #keyv: Keyv;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #onLanded: () => void;
  readonly #doubts = new KeyvDoubts();
  /** What the keys of this commit held when they were read, as the adapter gave it. */
  readonly #before = new Map<string, unknown>();
  #codec: Codec | undefined;
  #over: Promise<never> = new Promise(() => {});

  /** @param options.onLanded Called when a write that was given up has come back: `write` may have something to mend. */
  constructor(keyv: Keyv, adapter: Adapter, options: { clock: Clock; timeoutMs: number; onLanded: () => void }) {
    this.#keyv = keyv;
    this.#adapter = adapter;
    this.#clock = options.clock;
    this.#timeoutMs = options.timeoutMs;
    this.#onLanded = options.onLanded;
  }

  /** Runs `steps`, whose calls here fail together once `timeoutMs` have passed. One at a time. */
  async within<T>(steps: () => Promise<T>): Promise<T> {
    let expire!: (error: Error) => void;
    this.#over = new Promise((_, reject) => (expire = reject));
    this.#over.catch(() => {});
    this.#before.clear();
    const late = () => expire(new Error(`no answer within ${this.#timeoutMs} ms`));
    const cancel = this.#clock.after(this.#timeoutMs, late, { hold: true });
    try {
      this.#codec ??= await this.#inTime(codecOf(this.#keyv));
      return await steps();
    } finally {
      cancel();
    }
  }

  /** The records under `keys`, parsed; undefined where there is none. */
  async read(keys: readonly string[]): Promise<unknown[]> {
    const stored = await this.#fetch(keys);
    const now = this.#clock.now();
    const records: unknown[] = [];
    for (const [i, key] of keys.entries()) {
      this.#before.set(key, stored[i]);
      const known = this.#doubts.get(key);
      if (known !== undefined) {
        records.push(known.json === undefined || isOver(known.expires, now) ? undefined : JSON.parse(known.json));
        continue;
      }
      const maybe = this.#codec!.open(key, stored[i]);
      const { record, expires } = maybe instanceof Promise ? await this.#inTime(maybe) : maybe;
      this.#doubts.pin(key, () => ({ key, json: record === undefined ? undefined : JSON.stringify(record), expires }));
      records.push(isOver(expires, now) ? undefined : record);
    }
    return records;
  }

  /** Writes one record, without reading it back. */
  async put(write: Write): Promise<void> {
    await this.#perform([write]);
  }

  /**
   * Writes and deletes all, in no order, and mends what was disturbed. Many adapters answer a `set` with nothing, some of
   * them also when it failed: unless the answers say `true`, the records are read back.
   */
  async write(writes: readonly Write[]): Promise<void> {
    const own = new Set(writes.map(({ key }) => key));
    const all = [...writes, ...this.#doubts.repairs().filter(({ key }) => !own.has(key))];
    if (all.length === 0 || (await this.#perform(all))) return;
    let lost = await this.#lost(all);
    if (lost.length > 0 && lost.every(({ json }) => json === undefined)) {
      // keyv-file's `deleteMany` ends at the first key that is not there.
      for (const write of lost) await this.#perform([write]);
      lost = await this.#lost(lost);
    }
    if (lost.length > 0) throw new Error(`"${lost[0]!.key}" does not read as it was written`);
  }

  /** `write` has something to mend. */
  get isDisturbed(): boolean {
    return this.#doubts.repairs().length > 0;
  }

  /** Whether every answer said `true`. */
  async #perform(writes: readonly Write[]): Promise<boolean> {
    let values = writes.map(({ json, expires }) => (json === undefined ? undefined : this.#codec!.seal(json, expires)));
    if (values.some((value) => value instanceof Promise)) values = await this.#inTime(Promise.all(values));
    const acknowledge = this.#doubts.sending(writes);
    let isBack = false;
    const sent = this.#send(writes, values).finally(() => (isBack = true));
    try {
      const isAffirmed = await this.#inTime(sent);
      acknowledge();
      return isAffirmed;
    } catch (error) {
      if (!isBack) {
        const landed = this.#doubts.gaveUp(writes);
        const settle = () => {
          landed();
          this.#onLanded();
        };
        void sent.then(settle, settle);
      }
      throw error;
    }
  }

  /** Settles when every call has: none is on its way afterwards. */
  async #send(writes: readonly Write[], values: readonly unknown[]): Promise<boolean> {
    const adapter = this.#adapter;
    const puts: Entry[] = [];
    const drops: string[] = [];
    writes.forEach(({ key, json, expires }, i) => {
      if (json === undefined) drops.push(key);
      else puts.push({ key, value: values[i], ...this.#lifeOf(expires) });
    });
    const calls: Promise<boolean>[] = [];
    if (puts.length > 1 && adapter.setMany) calls.push(setMany(adapter, puts));
    else for (const entry of puts) calls.push(set(adapter, entry));
    if (drops.length > 1 && adapter.deleteMany) calls.push(deleteMany(adapter, drops));
    else for (const key of drops) calls.push(remove(adapter, key));

    let isAffirmed = true;
    for (const outcome of await Promise.allSettled(calls)) {
      if (outcome.status === "rejected") throw outcome.reason;
      isAffirmed &&= outcome.value;
    }
    return isAffirmed;
  }

  /** Of writes nobody affirmed: those of which the store shows nothing, or still what it showed before. */
  async #lost(writes: readonly Write[]): Promise<Write[]> {
    const stored = await this.#fetch(writes.map(({ key }) => key));
    const lost: Write[] = [];
    for (const [i, write] of writes.entries()) {
      const { key, json } = write;
      const { record } = await this.#codec!.open(key, stored[i]);
      if (json === (record === undefined ? undefined : JSON.stringify(record))) continue;
      // Something else altogether is another process's doing: the store is shared, and this ledger atomic only within one.
      if (record === undefined || !this.#before.has(key) || isSame(stored[i], this.#before.get(key))) lost.push(write);
    }
    return lost;
  }

  async #fetch(keys: readonly string[]): Promise<unknown[]> {
    const stored = await this.#inTime(get(this.#adapter, keys));
    if (!Array.isArray(stored) || stored.length !== keys.length) {
      throw new Error(
        `getMany of ${keys.length} keys answered ${Array.isArray(stored) ? stored.length : typeof stored}`,
      );
    }
    return stored;
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    return Promise.race([answer, this.#over]);
  }

  #lifeOf(expires: number | undefined): { ttl?: number; expires?: number } {
    if (expires === undefined) return {};
    if (this.#adapter.capabilities?.expires === true) return { expires };
    return { ttl: Math.max(1, Math.ceil(expires - this.#clock.now())) };
  }
}

// Asynchronous, so that what throws at once becomes a rejection too.

async function get(adapter: Adapter, keys: readonly string[]): Promise<unknown> {
  if (adapter.getMany && keys.length > 1) return adapter.getMany(keys);
  return Promise.all(keys.map((key) => adapter.get(key)));
}

async function set(adapter: Adapter, { key, value, ttl, expires }: Entry): Promise<boolean> {
  const answer = await adapter.set(key, value, ttl ?? expires);
  if (answer === false) throw new Error("set answered false");
  return answer === true || answer === adapter;
}

async function setMany(adapter: Adapter, entries: readonly Entry[]): Promise<boolean> {
  const answer = await adapter.setMany!(entries);
  if (answer === false || (Array.isArray(answer) && answer.includes(false))) throw new Error("setMany answered false");
  return areTrue(answer, entries.length);
}

// `false` only says that a key was not there.

async function remove(adapter: Adapter, key: string): Promise<boolean> {
  return (await adapter.delete(key)) === true;
}

async function deleteMany(adapter: Adapter, keys: readonly string[]): Promise<boolean> {
  return areTrue(await adapter.deleteMany!(keys), keys.length);
}

function areTrue(answer: unknown, count: number): boolean {
  return answer === true || (Array.isArray(answer) && answer.length === count && answer.every((each) => each === true));
}

function isOver(expires: number | undefined, now: number): boolean {
  return expires !== undefined && expires <= now;
}

function isSame(a: unknown, b: unknown): boolean {
  return a === b || (typeof a === "object" && a !== null && JSON.stringify(a) === JSON.stringify(b));
}
