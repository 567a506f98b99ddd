import { Keyv } from "keyv";
import { describe, expect, it, vi } from "vitest";
import { ConfigError } from "../../src/errors/config-error.js";
import { KeyvLedger } from "../../src/ledger/keyv.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { MemoryLedger } from "../../src/ledger/memory.js";
import { isShareable, openLedger } from "../../src/ledger/open.js";
import { claimOf, hold, meterOf, month, shows } from "../../src/testing/drive.js";
import { ManualClock } from "../../src/testing/index.js";
import { TestAdapter } from "./adapter.js";

const money = meterOf("workspace", "usd", month);

describe("openLedger", () => {
  it("keeps what has no store in memory, each on its own", () => {
    expect(openLedger(undefined)).toBeInstanceOf(MemoryLedger);
    expect(openLedger("memory")).toBeInstanceOf(MemoryLedger);
    expect(openLedger("memory")).not.toBe(openLedger("memory"));
  });

  it("takes a ledger as it is", () => {
    const ledger: Ledger = new MemoryLedger();
    expect(openLedger(ledger)).toBe(ledger);
  });

  it("keeps a Keyv over a Map in memory, one ledger for each Map and namespace", () => {
    const map = new Map();
    const ledger = openLedger(new Keyv({ store: map }));
    expect(ledger).toBeInstanceOf(MemoryLedger);
    expect(openLedger(new Keyv(map))).toBe(ledger);
    expect(openLedger(new Keyv({ store: map }), { namespace: "driftlock" })).toBe(ledger);
    expect(openLedger(new Keyv({ store: map }), { namespace: "test" })).not.toBe(ledger);
    expect(openLedger(new Keyv({ store: map, namespace: "tenant" }))).not.toBe(ledger);
    expect(openLedger(new Keyv())).not.toBe(ledger);
    const keyv = new Keyv();
    expect(openLedger(keyv)).toBe(openLedger(keyv));
  });

  it("uses the store of any other Keyv, one ledger for each adapter and namespace", () => {
    const store = new TestAdapter();
    const ledger = openLedger(new Keyv({ store }));
    expect(ledger).toBeInstanceOf(KeyvLedger);
    expect(ledger.atomicity).toBe("process");
    expect(openLedger(new Keyv({ store }))).toBe(ledger);
    expect(openLedger(new Keyv({ store }), { namespace: "test" })).not.toBe(ledger);
    expect(openLedger(new Keyv({ store: new TestAdapter() }))).not.toBe(ledger);
  });

  it("gives two loaded copies of the package one ledger", async () => {
    const keyv = new Keyv({ store: new TestAdapter() });
    const ledger = openLedger(keyv);
    vi.resetModules();
    const copy = await import("../../src/ledger/open.js");
    expect(copy.openLedger).not.toBe(openLedger);
    expect(copy.openLedger(keyv)).toBe(ledger);
  });

  it("passes its options on", async () => {
    const clock = new ManualClock();
    for (const store of [undefined, new Keyv(), new Keyv({ store: new TestAdapter() })]) {
      const ledger = openLedger(store, { clock, namespace: "x", timeoutMs: 100 });
      expect((await hold(ledger, [claimOf(money, 100)])).expiresAt).toBe(clock.now() + 60_000);
      await shows(ledger, money, { held: 1 });
    }
  });

  it.each([null, 7, "redis://localhost", {}, new Map(), new TestAdapter(), { store: {} }, []])(
    "refuses %s",
    (store) => {
      const open = () => openLedger(store as never);
      expect(open).toThrow(/^store: must be a Keyv .*, a Ledger or "memory"/);
      try {
        open();
      } catch (error) {
        expect(ConfigError.isInstance(error) && error.field).toBe("store");
      }
    },
  );
});

describe("isShareable", () => {
  class KeyvPostgres extends TestAdapter {}
  class KeyvSqlite extends TestAdapter {}
  class KeyvFile extends TestAdapter {
    override readonly opts = { dialect: "redis" };
  }

  it("tells stores that several processes may be using from Maps and files", () => {
    expect(isShareable(new Keyv({ store: new KeyvPostgres() }))).toBe(true);
    expect(isShareable(new Keyv({ store: new TestAdapter() }))).toBe(true);
    for (const store of [new KeyvSqlite(), new KeyvFile(), new Map()])
      expect(isShareable(new Keyv({ store }))).toBe(false);
    for (const store of [undefined, "memory", new MemoryLedger()]) expect(isShareable(store)).toBe(false);
  });
});
