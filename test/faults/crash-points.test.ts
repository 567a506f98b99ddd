import { KeyvLedger, type Hold, type Ledger } from "@driftlock/core";
import { claimOf, ManualClock, meterOf, requestOf } from "@driftlock/core/testing";
import { Keyv } from "keyv";
import { describe, expect, it } from "vitest";
import { agreed, claims, lease, money } from "./calls.js";

/** A store in memory whose process dies at its `lives`-th write of a key: that one and all after it never happen. */
class DyingStore {
  readonly opts = {};
  readonly stored: Map<string, string>;
  readonly #loses: (key: string) => boolean;
  lives = Infinity;

  constructor(stored: Map<string, string>, loses: (key: string) => boolean = () => false) {
    this.stored = stored;
    this.#loses = loses;
  }

  async get(key: string) {
    this.#breathe();
    return this.stored.get(key);
  }
  async set(key: string, value: string) {
    this.#write(() => this.#loses(key) || this.stored.set(key, value));
    return true;
  }
  async delete(key: string) {
    this.#write(() => this.stored.delete(key));
    return true;
  }
  async clear() {}

  #write(write: () => unknown) {
    this.#breathe();
    if (this.lives-- > 0) write();
    this.#breathe();
  }

  #breathe() {
    if (this.lives < 0) throw new Error("the process is dead");
  }
}

/** The same, with writes in batches that can break off in the middle. */
class DyingBatchStore extends DyingStore {
  async setMany(entries: readonly { key: string; value: string }[]) {
    for (const { key, value } of entries) await this.set(key, value);
  }
  async deleteMany(keys: readonly string[]) {
    for (const key of keys) await this.delete(key);
    return true;
  }
}

const clock = new ManualClock();
const open = (store: DyingStore) => new KeyvLedger(new Keyv({ store }), { clock });
const rate = meterOf("label:user_id:eve", "calls", { kind: "sliding", ms: 60_000 });

/** Four operations of different kinds, asked for at once: one commit. */
async function group(ledger: Ledger, [first, second, third]: readonly Hold[]): Promise<void> {
  const answers = await Promise.allSettled([
    ledger.reserve(requestOf([...claims, claimOf(rate, 5)], { id: "new", lease })),
    ledger.settle(first!, { usd: 70, tokens: 0, known: true }),
    ledger.release(second!),
    ledger.renew([third!], 2 * lease.ms),
    ledger.amend("label:team:red", { addLimit: 5 }, "once"),
  ]);
  const kinds = new Set(answers.map(({ status }) => status));
  expect(kinds.size, "a group is acknowledged or refused as one").toBe(1);
}

/** Everything that counts: accounts and holds, without the bookkeeping of commits. */
function state(stored: ReadonlyMap<string, string>): Record<string, unknown> {
  const counted = [...stored].filter(([key]) => !key.endsWith(":redo") && !key.endsWith(":head"));
  return Object.fromEntries(counted.sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function prepared(Store: typeof DyingStore) {
  const store = new Store(new Map());
  const ledger = open(store);
  const holds: Hold[] = [];
  for (const id of ["one", "two", "three"]) {
    const answer = await ledger.reserve(requestOf(claims, { id, lease }));
    if (answer.kind === "held") holds.push(answer.hold);
  }
  const done = new Map(store.stored);
  await group(open(new Store(done)), holds);
  return { holds, before: store.stored, after: done };
}

describe.each([
  ["key by key", DyingStore],
  ["in batches", DyingBatchStore],
])("a process that dies between two writes, %s,", (_, Store) => {
  it("leaves the whole commit or none of it, wherever it dies, also while it mends the last death", async () => {
    const { holds, before, after } = await prepared(Store);
    const expected = [state(before), state(after)];
    const found = new Set<number>();
    let deaths = 0;
    for (let first = 0; first < 20; first++) {
      for (let second = 0; second < 20; second++) {
        const stored = new Map(before);
        const dying = new Store(stored);
        const ledger = open(dying);
        await ledger.read(money);
        dying.lives = first;
        await group(ledger, holds);
        if (dying.lives < 0) deaths++;

        const mending = new Store(stored);
        mending.lives = second;
        await Promise.allSettled([open(mending).read(money)]);

        await agreed(open(new Store(stored)));
        const index = expected.findIndex((each) => JSON.stringify(each) === JSON.stringify(state(stored)));
        expect(index, `dead at write ${first}, then at ${second}: ${JSON.stringify(state(stored))}`).not.toBe(-1);
        found.add(index);
      }
    }
    expect([...found].sort()).toEqual([0, 1]);
    expect(deaths).toBeGreaterThan(150);
  });

  it("would leave half of it without the redo record: this test can fail", async () => {
    const { holds, before } = await prepared(Store);
    const torn: number[] = [];
    for (let at = 0; at < 20; at++) {
      const stored = new Map(before);
      const dying = new Store(stored, (key) => key.endsWith(":redo"));
      const ledger = open(dying);
      await ledger.read(money);
      stored.delete("driftlock::v1::redo");
      dying.lives = at;
      await group(ledger, holds);
      await agreed(open(new Store(stored))).catch(() => torn.push(at));
    }
    expect(torn.length).toBeGreaterThan(1);
  });
});
