import { Keyv } from "keyv";
import { describe, expect, it } from "vitest";
import { KeyvKeys } from "../../src/ledger/keyv-records.js";
import { KeyvLedger } from "../../src/ledger/keyv.js";
import { claimOf, hold, meterOf, month, shows } from "../../src/testing/drive.js";
import { TestAdapter } from "./adapter.js";

const money = meterOf("workspace", "usd", month);
const claims = [claimOf(money, 100, 10)];

const names = [
  "ada",
  "Ada",
  "aDa",
  "~0041da",
  "%0041da",
  "a:da",
  "a::da",
  "a da",
  "ada ",
  "",
  "ä",
  "😀",
  "\uD83D",
  "\uDE00",
];
const long = "x".repeat(300);

describe("the keys of KeyvLedger", () => {
  it("are different for different names, and plain enough for every store", () => {
    const keys = new KeyvKeys("driftlock");
    const all = [...names, long, `${long}y`, `${long.slice(1)}Y`];
    const spelled = all.flatMap((name) => [keys.account(name), keys.hold(name)]);
    expect(new Set([...spelled, keys.head, keys.redo]).size).toBe(2 * all.length + 2);
    // No capitals, accents or blanks: a collation may fold them. No more than 200 characters: a column may end there.
    for (const key of spelled) expect(key).toMatch(/^[a-z0-9_.@%:~-]{1,200}$/);
    expect(keys.account("workspace")).toBe("driftlock::v1::account:workspace");
  });

  it("stay apart whatever the namespaces are called", () => {
    const spaces = [...names, long].flatMap((a) => ["", "b", "B", "b:c", long].map((b) => new KeyvKeys(a, b)));
    expect(new Set(spaces.map((keys) => keys.account("c"))).size).toBe(spaces.length);
    expect(spaces.every((keys) => keys.head.length <= 200)).toBe(true);
  });

  it("keep two namespaces on one store apart, the ledger's and the Keyv's", async () => {
    const stored = new Map<string, unknown>();
    const open = (namespace: string, keyvNamespace?: string) =>
      new KeyvLedger(new Keyv({ store: new TestAdapter(stored), namespace: keyvNamespace }), { namespace });
    await hold(open("prod"), claims);
    await shows(open("test"), money, {});
    await shows(open("prod", "tenant"), money, {});
    await shows(open("prod"), money, { held: 10 });
    // keyv 5 calls its default "keyv", keyv 6 has none: an upgrade finds the same state.
    await shows(open("prod", "keyv"), money, { held: 10 });
  });

  it("survive keyv.clear() of the cache beside them", async () => {
    const clears = {
      "SQL adapters delete the namespace's prefix": (key: string) => key.startsWith("keyv:"),
      "Redis adapters without a namespace spare keys with ::": (key: string) => !key.includes("::"),
    };
    for (const [adapters, clears_] of Object.entries(clears)) {
      const adapter = new TestAdapter();
      adapter.clear = async () => {
        for (const key of adapter.stored.keys()) if (clears_(key)) adapter.stored.delete(key);
      };
      const keyv = new Keyv({ store: adapter });
      const ledger = new KeyvLedger(keyv);
      await hold(ledger, claims);
      await keyv.set("mine", 1);
      await keyv.clear();
      expect(await keyv.get("mine")).toBeUndefined();
      await shows(ledger, money, { held: 10 }, adapters);
    }
  });
});
