import { gunzipSync, gzipSync } from "node:zlib";
import { Keyv } from "keyv";
import { describe, expect, it } from "vitest";
import { KeyvLedger } from "../../src/ledger/keyv.js";
import { bill, claimOf, hold, lifetime, meterOf, month, requestOf, shows } from "../../src/testing/drive.js";
import { ledgerSuite, ManualClock } from "../../src/testing/index.js";
import { TestAdapter, type Method } from "./adapter.js";

const single: readonly Method[] = ["get", "set", "delete"];
const money = meterOf("workspace", "usd", month);

/** Answers out of order, after up to a few turns of the event loop. */
function delayed(adapter: TestAdapter): TestAdapter {
  let seed = 1;
  adapter.intercept = async ({ perform }) => {
    seed = (seed * 48_271) % 2_147_483_647;
    for (let turns = seed % 3; turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
    return perform();
  };
  return adapter;
}

const compression = {
  compress: async (value: string) => gzipSync(value).toString("base64"),
  decompress: async (value: string) => gunzipSync(Buffer.from(value, "base64")).toString(),
};

const stores: Record<string, () => Keyv> = {
  "a Map": () => new Keyv(),
  "an adapter with every batch method": () => new Keyv({ store: new TestAdapter() }),
  "an adapter that answers late and out of order": () => new Keyv({ store: delayed(new TestAdapter()) }),
  "an adapter without batch methods that answers nothing": () =>
    new Keyv({ store: delayed(new TestAdapter(new Map(), { methods: single, answer: undefined })) }),
  "a Keyv with its own ttl, hooks and compression": () => {
    const keyv = new Keyv({ store: new TestAdapter(), ttl: 1, compression });
    keyv.hooks.addHandler("preSet", (data: { value: unknown }) => (data.value = "changed by a hook"));
    return keyv;
  },
  "a Keyv without serialization": () =>
    new Keyv({ store: new TestAdapter(), serialize: undefined, deserialize: undefined }),
  "an adapter of keyv 6, wrapped by its bridge": () => {
    const store = new TestAdapter();
    const bridge = { store, getKeyPrefix: () => "", get() {}, set() {}, delete() {}, clear() {} };
    return Object.assign(Object.create(Keyv.prototype) as Keyv, { opts: {}, _store: bridge });
  },
};

for (const [name, open] of Object.entries(stores)) {
  ledgerSuite({ name: `KeyvLedger over ${name}`, create: (clock) => new KeyvLedger(open(), { clock }), describe, it });
}

describe("KeyvLedger commits in groups", () => {
  it("in three round trips, whatever the number of operations", async () => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    await shows(ledger, money, {});
    adapter.calls.length = 0;
    const requests = Array.from({ length: 100 }, () => requestOf([claimOf(money, 1_000, 10), claimOf(money, 900, 10)]));
    const answers = await Promise.all(requests.map(async (request) => ledger.reserve(request)));
    expect(answers.filter(({ kind }) => kind === "held")).toHaveLength(90);
    expect(adapter.calls.map(({ method }) => method)).toEqual(["getMany", "set", "setMany"]);
    expect(adapter.calls[2]?.keys).toHaveLength(92);
  });

  it("and only reads where nothing is written", async () => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    await hold(ledger, [claimOf(money, 10, 10)]);
    adapter.calls.length = 0;
    await Promise.all([
      ledger.read([money]),
      ledger.check([claimOf(money, 5)], { floor: 1, want: 1 }),
      ledger.reserve(requestOf([claimOf(money, 10, 1)])),
      ledger.amend("workspace", {}),
    ]);
    expect(adapter.calls.map(({ method }) => method)).toEqual(["getMany"]);
  });

  it("in more than one when many wait, none of which grows too large", async () => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    const claims = Array.from({ length: 2_000 }, (_, i) => [claimOf(meterOf(`u${i}`, "usd", month), 100, 10)]);
    await Promise.all(claims.map(async (each) => hold(ledger, each)));
    const sizes = adapter.calls.filter(({ method }) => method === "setMany").map(({ keys }) => keys.length);
    expect(sizes.length).toBeGreaterThan(2);
    expect(Math.max(...sizes)).toBeLessThan(620);
  });

  it("and in smaller ones where the store cannot take large values", async () => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    let largest = 0;
    const { set } = adapter;
    Object.assign(adapter, {
      async set(key: string, value: string) {
        if (value.length > 8_000) throw new Error("value too large");
        largest = Math.max(largest, value.length);
        return set(key, value);
      },
    });
    let held = 0;
    for (let round = 0; round < 6; round++) {
      const answers = await Promise.allSettled(
        Array.from({ length: 100 }, async () => ledger.reserve(requestOf([claimOf(money, 1e9, 1)]))),
      );
      held = answers.filter(({ status }) => status === "fulfilled").length;
    }
    expect(held).toBeGreaterThan(50);
    expect(largest).toBeGreaterThan(2_000);
  });

  it("and lets an operation that cannot be done fail alone", async () => {
    const ledger = new KeyvLedger(new Keyv());
    const nowhere = meterOf("workspace", "calls", { kind: "days", days: 1 }, "Not/AZone");
    const [first, second, third] = await Promise.allSettled([
      hold(ledger, [claimOf(money, 100, 10)]),
      ledger.reserve(requestOf([claimOf(money, 100, 10), claimOf(nowhere, 100, 10)])),
      hold(ledger, [claimOf(money, 100, 10)]),
    ]);
    expect([first.status, second.status, third.status]).toEqual(["fulfilled", "rejected", "fulfilled"]);
    await shows(ledger, money, { held: 20 });
  });

  it("drops reserves nobody waits for any more before it asks the store", async () => {
    const adapter = new TestAdapter();
    const clock = new ManualClock();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }), { clock });
    const answer = ledger.reserve(requestOf([claimOf(money, 10)], { notAfter: clock.now() }));
    clock.advance(1);
    expect(await answer).toEqual({ kind: "late" });
    expect(adapter.calls).toEqual([]);
  });

  it("and a reserve whose time ends while the store is read holds nothing", async () => {
    const adapter = new TestAdapter();
    const clock = new ManualClock();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }), { clock });
    await shows(ledger, money, {});
    adapter.intercept = ({ method, perform }) => {
      if (method === "getMany") clock.advance(100);
      return perform();
    };
    expect(await ledger.reserve(requestOf([claimOf(money, 10)], { notAfter: clock.now() + 50 }))).toEqual({
      kind: "late",
    });
    await shows(ledger, money, {});
  });
});

describe("what KeyvLedger stores", () => {
  it("is deleted with the hold, and expires when it counts no more", async () => {
    const adapter = new TestAdapter();
    const lives = new Map<string, number | undefined>();
    adapter.intercept = ({ perform }) => perform();
    const { setMany } = adapter;
    Object.assign(adapter, {
      setMany(entries: readonly { key: string; value: unknown; ttl?: number }[]) {
        for (const { key, ttl } of entries) lives.set(key, ttl);
        return setMany!(entries);
      },
    });
    const clock = new ManualClock(Date.UTC(2026, 2, 10));
    const ledger = new KeyvLedger(new Keyv({ store: adapter }), { clock });
    const all = meterOf("label:user_id:ada", "usd", lifetime);
    const first = await hold(ledger, [claimOf(money, 100, 10), claimOf(all, 100, 10)]);
    const hours = (ms: number | undefined) => ms && ms / 3_600_000;
    expect(hours(lives.get(`driftlock::v1::hold:${first.id}`))).toBeCloseTo((60 + 600) / 3_600);
    expect(hours(lives.get("driftlock::v1::account:workspace"))).toBe(35 * 24);
    expect(lives.has("driftlock::v1::account:label:user_id:ada")).toBe(true);
    expect(lives.get("driftlock::v1::account:label:user_id:ada")).toBeUndefined();
    expect(lives.get("driftlock::v1::head")).toBeUndefined();

    expect([...adapter.stored.keys()].filter((key) => key.includes("hold:"))).toHaveLength(1);
    await ledger.settle(first, bill(10));
    expect([...adapter.stored.keys()].filter((key) => key.includes("hold:"))).toEqual([]);
    await ledger.settle(await hold(ledger, [claimOf(money, 100, 10)]), bill(10));
    expect(adapter.stored.size).toBe(4);
  });

  it("reads as missing once it has expired, where the adapter keeps it for ever", async () => {
    const adapter = new TestAdapter();
    const clock = new ManualClock();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }), { clock });
    const open = await hold(ledger, [claimOf(money, 100, 10)], { named: true });
    await ledger.settle(open, bill(10));
    clock.advance(40 * 86_400_000);
    expect(adapter.stored.size).toBe(4);
    await hold(ledger, [claimOf(money, 100, 10)], { id: open.id, maxAccounts: 1 });
    await shows(ledger, money, { held: 10 });
  });

  it("is no known account once it has expired, though the adapter still has it", async () => {
    const clock = new ManualClock();
    const ledger = new KeyvLedger(new Keyv({ store: new TestAdapter() }), { clock });
    const claims = (name: string) => [claimOf(meterOf(name, "usd", month), 100, 10)];
    await hold(ledger, claims("a"));
    clock.advance(40 * 86_400_000);
    await hold(ledger, claims("b"), { maxAccounts: 1 });
    expect(await ledger.reserve(requestOf(claims("a"), { maxAccounts: 1 }))).toEqual({ kind: "full" });
  });

  it("stays small whatever the history", async () => {
    const adapter = new TestAdapter();
    const clock = new ManualClock();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }), { clock });
    const kinds = [
      { kind: "sliding", ms: 60_000 },
      { kind: "calendar", unit: "hour" },
      { kind: "days", days: 7 },
    ] as const;
    const claims = kinds.map((window) => claimOf(meterOf("workspace", "usd", window), Infinity, 10));
    for (let call = 0; call < 500; call++) {
      clock.advance(call * 1_000);
      await ledger.settle(await hold(ledger, claims), bill(10));
    }
    const [account] = [...adapter.stored].filter(([key]) => key.endsWith("account:workspace"));
    expect(String(account![1]).length).toBeLessThan(2_500);
  });

  it("can be listed by the user's own Keyv", async () => {
    const keyv = new Keyv();
    await hold(new KeyvLedger(keyv), [claimOf(money, 100, 10)]);
    await keyv.set("mine", 1);
    const keys: string[] = [];
    for await (const [key] of keyv.iterator!(undefined)) keys.push(String(key));
    expect(keys).toContain("mine");
  });

  it("leaves the user's Keyv as it was", async () => {
    const adapter = new TestAdapter();
    const keyv = new Keyv({ store: adapter, namespace: "cache", ttl: 5 });
    const { throwOnErrors, ttl, namespace, useKeyPrefix } = keyv;
    await hold(new KeyvLedger(keyv), [claimOf(money, 100, 10)]);
    expect(keyv).toMatchObject({ throwOnErrors, ttl, namespace, useKeyPrefix });
    expect(adapter.namespace).toBe("cache");
    await keyv.set("mine", 1);
    expect(await keyv.get("mine")).toBe(1);
  });
});

describe("KeyvLedger.close", () => {
  it("waits for what is under way, and leaves the ledger usable for others", async () => {
    const ledger = new KeyvLedger(new Keyv({ store: delayed(new TestAdapter()) }));
    let isHeld = false;
    const held = hold(ledger, [claimOf(money, 100, 10)]).then(() => (isHeld = true));
    await ledger.close();
    expect(isHeld).toBe(true);
    await held;
    await ledger.close();
    await shows(ledger, money, { held: 10 });
  });
});
