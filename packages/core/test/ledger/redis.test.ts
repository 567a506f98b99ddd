import KeyvRedis, { createClient } from "@keyv/redis";
import { Keyv } from "keyv";
import { afterAll, describe, expect, inject, it } from "vitest";
import { monotonic, systemClock } from "../../src/clock.js";
import { ConfigError } from "../../src/errors/config-error.js";
import { StateLostError, StoreError } from "../../src/errors/store-error.js";
import { holdOf } from "../../src/ledger/hold.js";
import { openLedger } from "../../src/ledger/open.js";
import { adviceOn } from "../../src/ledger/redis-advice.js";
import { RedisLedger } from "../../src/ledger/redis.js";
import {
  bill,
  claimOf,
  day,
  hold,
  lifetime,
  meterOf,
  minute,
  month,
  requestOf,
  shows,
} from "../../src/testing/drive.js";
import { ledgerSuite, ManualClock } from "../../src/testing/index.js";
import { startRedis } from "@driftlock/redis-server";
import { TestAdapter } from "./adapter.js";

const url = inject("redisUrl");
const client = createClient({ url });
await client.connect();
const adapter = new KeyvRedis(client as never);
const keyv = new Keyv(adapter);
afterAll(() => client.close());

const newNamespace = () => `test-${crypto.randomUUID()}`;
const keysOf = async (namespace: string) => (await client.keys(`{${namespace}::*`)).sort();

ledgerSuite({
  name: "RedisLedger",
  create: (clock) => new RedisLedger(keyv, { namespace: newNamespace(), clock }, () => clock.now()),
  describe,
  it,
});

const money = meterOf("workspace", "usd", month);
const user = (name: string) => `label:user_id:${name}`;
/** All rules of the seed on one user, and what else is kept. */
const eight = (name: string) => [
  claimOf(meterOf("workspace", "usd", month), 1e12, 100),
  claimOf(meterOf(user(name), "usd", month), 1e12, 100),
  claimOf(meterOf("workspace", "usd", { kind: "days", days: 7 }), 1e12, 100),
  claimOf(meterOf("workspace", "calls", minute), 1e6),
  claimOf(meterOf(user(name), "calls", minute), 1e6),
  claimOf(meterOf(user(name), "usd", minute), 1e12, 100),
  claimOf(meterOf("workspace", "in-flight", lifetime), 1e6),
  claimOf(meterOf(user(name), "tokens", { kind: "sliding", ms: 3_600_000 }), 1e12, 50),
];

describe("a Keyv over @keyv/redis", () => {
  it("gets the Redis ledger by itself, one for each adapter and namespace", () => {
    const ledger = openLedger(new Keyv(adapter));
    expect(ledger).toBeInstanceOf(RedisLedger);
    expect(ledger.atomicity).toBe("all-processes");
    expect(openLedger(new Keyv({ store: adapter }))).toBe(ledger);
    expect(openLedger(new Keyv(adapter), { namespace: "other" })).not.toBe(ledger);
    expect(openLedger(new Keyv(new KeyvRedis(client as never)))).not.toBe(ledger);
  });

  it("is asked for where another one is given", () => {
    expect(() => new RedisLedger(new Keyv({ store: new TestAdapter() }))).toThrow(ConfigError);
  });

  it("is used through its own client and under its own namespace, apart from its records", async () => {
    const namespace = newNamespace();
    const cache = new Keyv({ store: new KeyvRedis(client as never), namespace: "cache" });
    const [ledger, other] = [openLedger(cache, { namespace }), openLedger(new Keyv(adapter), { namespace })];
    await hold(ledger, [claimOf(money, 100, 70)]);
    await hold(other, [claimOf(money, 100, 70)]);
    expect(await keysOf(namespace)).toHaveLength(8);
    await cache.set("page", 1);
    await cache.clear();
    await new KeyvRedis(client as never).clear();
    expect(await cache.get("page")).toBeUndefined();
    await shows(ledger, money, { held: 70 });
  });

  it("may be one whose answers are mapped to other types", async () => {
    const mapped = createClient({ url, RESP: 3, commandOptions: { typeMapping: { 36: Buffer, 58: String } as never } });
    const ledger = new RedisLedger(new Keyv(new KeyvRedis(mapped as never)), { namespace: newNamespace() });
    await ledger.settle(await hold(ledger, [claimOf(money, 100, 70)]), bill(30));
    await shows(ledger, money, { settled: 30 });
    await mapped.close();
  });
});

describe("one round trip", () => {
  const scriptsRun = async () => {
    const stats = await client.info("commandstats");
    return ["eval", "evalsha"].map((name) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0));
  };

  it("reserves, settles or releases, whatever the number of claims", async () => {
    const ledger = new RedisLedger(keyv, { namespace: newNamespace() });
    await ledger.settle(await hold(ledger, eight("ada")), bill(1));
    await ledger.release(await hold(ledger, eight("ada")));
    for (const claims of [eight("ada").slice(0, 1), eight("ada")]) {
      const before = await scriptsRun();
      const first = await hold(ledger, claims);
      const second = await hold(ledger, claims, { take: "largest", want: 50, floor: 0 });
      await ledger.settle(
        first,
        bill(70),
        claims.map(({ meter }) => meter),
      );
      await ledger.release(second);
      const after = await scriptsRun();
      // Other tests use the server too: those of this ledger are among them.
      expect(after[1]! - before[1]!).toBeGreaterThanOrEqual(4);
      expect(after[1]! - before[1]!).toBeLessThan(8);
    }
  });

  it("and a second one where a script needs days that were not foreseen", async () => {
    const clock = new ManualClock(Date.UTC(2026, 2, 10, 12));
    const ledger = new RedisLedger(keyv, { namespace: newNamespace() }, () => clock.now());
    const meter = meterOf("workspace", "usd", day, "Europe/Berlin");
    const lease = { ms: 1_000, onExpiry: "charge" } as const;
    await hold(ledger, [claimOf(meter, 1_000, 40)], { lease });
    clock.advance(20 * 86_400_000);
    await shows(ledger, meter, {});
    await shows(ledger, { ...meter, window: { kind: "days", days: 21 } }, { settled: 40 });
  });

  it("finds its scripts again when the server has forgotten them", async () => {
    const ledger = new RedisLedger(keyv, { namespace: newNamespace() });
    const open = await hold(ledger, [claimOf(money, 100, 70)]);
    await client.scriptFlush();
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => ledger.reserve(requestOf([claimOf(money, 100, 3)]))),
    );
    expect(answers.filter(({ kind }) => kind === "held")).toHaveLength(10);
    await client.scriptFlush();
    await ledger.settle(open, bill(10));
    await shows(ledger, money, { settled: 10, held: 30 });
  });
});

describe("the server's time", () => {
  const skewed = (ms: number) => ({ ...systemClock, now: () => systemClock.now() + ms });

  it("decides windows and leases: a caller's clock 15 s off changes nothing", async () => {
    const namespace = newNamespace();
    const ledgers = [-15_000, 0, 15_000].map((ms) => new RedisLedger(keyv, { namespace, clock: skewed(ms) }));
    const rate = meterOf("workspace", "calls", { kind: "sliding", ms: 2_000 });
    let admitted = 0;
    const until = monotonic() + 1_000;
    while (monotonic() < until) {
      for (const [i, ledger] of ledgers.entries()) {
        const notAfter = skewed((i - 1) * 15_000).now() + 500;
        const answer = await ledger.reserve(requestOf([claimOf(rate, 10)], { notAfter }));
        expect(answer.kind).not.toBe("late");
        if (answer.kind === "held") admitted++;
      }
    }
    expect(admitted).toBe(10);
    const server = Number((await client.time())[0]) * 1_000;
    const open = await hold(ledgers[2]!, [claimOf(money, 100, 70)], { lease: { ms: 60_000, onExpiry: "charge" } });
    expect(Math.abs(open.expiresAt - server - 60_000)).toBeLessThan(5_000);
  });

  it("says what has come too late to hold anything", async () => {
    const ledger = new RedisLedger(keyv, { namespace: newNamespace(), clock: skewed(15_000) });
    const now = () => skewed(15_000).now();
    expect(await ledger.reserve(requestOf([claimOf(money, 100, 70)], { notAfter: now() - 50 }))).toEqual({
      kind: "late",
    });
    await shows(ledger, money, {});
    await hold(ledger, [claimOf(money, 100, 70)], { notAfter: now() + 2_000 });
  });
});

describe("a time that is no whole number", () => {
  it("of a lease holds and gives back like any other", async () => {
    const ledger = new RedisLedger(keyv, { namespace: newNamespace() });
    const lease = { ms: 60_000 / 7, onExpiry: "charge" } as const;
    const open = await hold(ledger, [claimOf(money, 100, 70)], { lease });
    expect(await ledger.renew([open], 20_000 / 7)).toEqual([true]);
    expect(await ledger.release(open)).toMatchObject({ outcome: "released" });
    await shows(ledger, money, {});
  });

  it("of the caller's clock lets a call that went without the ledger be charged once", async () => {
    const ledger = new RedisLedger(keyv, { namespace: newNamespace() });
    const unheld = holdOf(requestOf([claimOf(money, 100, 70)]), "", 1, systemClock.now() + 0.5);
    expect(await ledger.settle(unheld, bill(30))).toMatchObject({ outcome: "orphan" });
    expect(await ledger.settle(unheld, bill(30))).toMatchObject({ outcome: "duplicate" });
    await shows(ledger, money, { settled: 30 });
  });
});

describe("a time that is none", () => {
  it.each([NaN, Infinity, 1e18])("%d: nothing is charged or held, however often it is tried", async (expiresAt) => {
    const ledger = new RedisLedger(keyv, { namespace: newNamespace() });
    const request = requestOf([claimOf(money, 100, 70)], { lease: { ms: expiresAt, onExpiry: "charge" } });
    await expect(ledger.reserve(request)).rejects.toBeInstanceOf(StoreError);
    const unheld = { ...holdOf(request, "", 1, 0), expiresAt };
    for (let tries = 0; tries < 3; tries++) {
      await expect(ledger.settle(unheld, bill(30))).rejects.toBeInstanceOf(StoreError);
    }
    await shows(ledger, money, {});
    const open = await hold(ledger, [claimOf(money, 100, 70)]);
    await expect(ledger.renew([open], expiresAt)).rejects.toBeInstanceOf(StoreError);
    await ledger.release(open);
    await shows(ledger, money, {});
  });
});

describe("a server whose time was set back behind the end of a lease", () => {
  it.each(["charge", "release"] as const)(
    "charges the late bill alone and gives nothing back twice: %s",
    async (onExpiry) => {
      const began = Date.UTC(2026, 2, 10, 12);
      let now = began;
      const ledger = new RedisLedger(keyv, { namespace: newNamespace() }, () => now);
      const claims = [claimOf(money, 100, 70), claimOf(meterOf("workspace", "in-flight", lifetime), 5)];
      const open = await hold(ledger, claims, { lease: { ms: 1_000, onExpiry } });
      now = began + 2_000;
      const other = await hold(ledger, [claimOf(money, 100, 1), claims[1]!]);
      now = began + 500;
      await ledger.settle(open, bill(30));
      now = began + 3_000;
      await shows(ledger, money, { settled: 30, held: 1 });
      await shows(ledger, claims[1]!.meter, { held: 1 });
      await ledger.settle(other, bill(1));
      await shows(ledger, money, { settled: 31 });
    },
  );
});

describe("a change of an account's state", () => {
  it("may say half a character, as a text that was cut ends with", async () => {
    const ledger = new RedisLedger(keyv, { namespace: newNamespace() });
    const patch = { by: "ops", reason: "alarm \ud83d", notes: { "a\udc00": "\ud800", "\0{}": "\0" } };
    const { applied, state } = await ledger.amend("control", patch, "once \ud83d");
    expect(applied).toBe(true);
    expect(state).toMatchObject({ reason: "alarm \ufffd", notes: { "a\ufffd": "\ufffd", "\0{}": "\0" } });
    expect((await ledger.amend("control", patch, "once \ud83d")).applied).toBe(false);
    const removed = await ledger.amend("control", { notes: { "a\udc00": null } });
    expect(removed.state.notes).toEqual({ "\0{}": "\0" });
  });

  it("is made whole or not at all", async () => {
    const ledger = new RedisLedger(keyv, { namespace: newNamespace() });
    await expect(ledger.amend("control", { addLimit: NaN, reason: "none" })).rejects.toBeInstanceOf(StoreError);
    expect((await ledger.amend("control", {})).state.version).toBe(0);
    const notes = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`note ${i}`, "x"]));
    expect((await ledger.amend("control", { addLimit: 5, notes }, "once")).applied).toBe(true);
    const { applied, state } = await ledger.amend("control", { addLimit: 5, notes }, "once");
    expect(applied).toBe(false);
    expect(state).toMatchObject({ version: 1, limitDelta: 5, notes });
  });
});

describe("a limit that is no amount", () => {
  it("fits nothing", async () => {
    const ledger = new RedisLedger(keyv, { namespace: newNamespace() });
    for (const limit of [NaN, -Infinity, -1]) {
      expect(await ledger.reserve(requestOf([claimOf(money, limit, 1)]))).toMatchObject({ kind: "short" });
    }
  });
});

describe("the life of the state", () => {
  const opened = async (namespace: string) => {
    const ledger = new RedisLedger(keyv, { namespace });
    await shows(ledger, money, {});
    return ledger;
  };
  const drop = async (namespace: string) => client.del(await keysOf(namespace));

  it("is missed when it is gone, until the loss is accepted", async () => {
    const namespace = newNamespace();
    const ledger = await opened(namespace);
    const open = await hold(ledger, [claimOf(money, 100, 70)]);
    await drop(namespace);
    await expect(ledger.reserve(requestOf([claimOf(money, 100, 70)]))).rejects.toThrow(StateLostError);
    await expect(ledger.read([money])).rejects.toThrow(StateLostError);
    await expect(ledger.settle(open, bill(70))).rejects.toThrow(StateLostError);
    await ledger.acceptLoss();
    expect((await ledger.settle(open, bill(70))).outcome).toBe("orphan");
    expect((await ledger.settle(open, bill(70))).outcome).toBe("duplicate");
    await shows(ledger, money, { settled: 70 });
    await ledger.acceptLoss();
    await shows(ledger, money, { settled: 70 });
  });

  it("is not taken for another one that was begun meanwhile", async () => {
    const namespace = newNamespace();
    const [first, second] = [await opened(namespace), await opened(namespace)];
    await drop(namespace);
    await first.acceptLoss();
    await hold(first, [claimOf(money, 100, 70)]);
    await expect(second.reserve(requestOf([claimOf(money, 100, 70)]))).rejects.toThrow(StateLostError);
    await second.acceptLoss();
    await shows(second, money, { held: 70 });
  });

  it("of another layout is refused, and nothing is written", async () => {
    const namespace = newNamespace();
    const ledger = await opened(namespace);
    const [head] = await keysOf(namespace);
    await client.set(head!, "2:0123456789ab");
    for (const each of [ledger, new RedisLedger(keyv, { namespace })]) {
      const failure = await (each as RedisLedger).reserve(requestOf([claimOf(money, 100, 70)])).then(
        () => expect.fail("it was let through"),
        (error: unknown) => error as StoreError,
      );
      expect(failure).toBeInstanceOf(StoreError);
      expect(failure).not.toBeInstanceOf(StateLostError);
      expect(failure.message).toContain("layout 2");
      expect(await keysOf(namespace)).toEqual([head]);
    }
  });
});

describe("what is stored", () => {
  it("expires when its windows are past, the account on the day after", async () => {
    const namespace = newNamespace();
    const ledger = new RedisLedger(keyv, { namespace });
    const ttls = async () => {
      const found: Record<string, number> = {};
      for (const key of await keysOf(namespace))
        found[key.replace(/^.*}:|:[0-9a-f]{12}/g, "")] = await client.pTTL(key);
      return found;
    };
    const quick = await hold(ledger, [claimOf(meterOf("label:team:a", "usd", minute), 100, 10)]);
    await hold(ledger, [claimOf(meterOf("label:team:b", "usd", lifetime), 100, 10)]);
    await hold(ledger, [claimOf(meterOf("label:team:c", "usd", month), 100, 10)]);
    await ledger.settle(quick, bill(5));
    const found = await ttls();
    const dayMs = 86_400_000;
    expect(found["a:label:team:a"]).toBeGreaterThan(120_000);
    expect(found["a:label:team:a"]).toBeLessThanOrEqual(dayMs + 180_000);
    expect(found["a:label:team:b"]).toBe(-1);
    expect(found["a:label:team:c"]).toBeGreaterThan(33 * dayMs);
    expect(found["a:label:team:c"]).toBeLessThanOrEqual(36 * dayMs);
    const holds = Object.entries(found).filter(([key]) => key.startsWith("h:"));
    expect(holds).toHaveLength(2);
    for (const [, ttl] of holds) expect(ttl).toBeLessThanOrEqual(660_000);
    await ledger.amend("label:team:a", { reason: "freeze" });
    expect((await ttls())["a:label:team:a"]).toBe(-1);
  });

  it("is at most 1 KB a meter and 2 KB a user with all rules, however full their windows", async () => {
    const clock = new ManualClock(Date.UTC(2026, 2, 1, 12));
    const namespace = newNamespace();
    const ledger = new RedisLedger(keyv, { namespace, clock }, () => clock.now());
    const ada = eight("ada").filter(({ meter }) => meter.account === user("ada"));
    const spend = async () => ledger.settle(await hold(ledger, ada), bill(123_456_789, 12_345));
    for (let past = 0; past < 40; past++) {
      await spend();
      clock.advance(86_400_000);
    }
    for (let past = 0; past < 70; past++) {
      await spend();
      clock.advance(60_000);
    }
    for (let past = 0; past < 70; past++) {
      await spend();
      clock.advance(1_000);
    }
    const key = (await keysOf(namespace)).find((each) => each.endsWith(user("ada")))!;
    const size = Number(await client.memoryUsage(key, { SAMPLES: 0 } as never));
    expect(size).toBeLessThanOrEqual(2_048);
    for (const series of await client.hKeys(key)) expect(await client.hStrLen(key, series)).toBeLessThanOrEqual(768);
  });
});

describe("the settings of the server", () => {
  const info = (aof: 0 | 1, policy: string) =>
    `# Memory\r\nmaxmemory_policy:${policy}\r\n# Persistence\r\naof_enabled:${aof}\r\n`;

  it("are as they should be, or it says what to change", () => {
    expect(adviceOn(info(1, "noeviction"))).toEqual([]);
    expect(adviceOn(info(0, "noeviction")).join()).toMatch(/appendonly yes/);
    expect(adviceOn(info(1, "allkeys-lru")).join()).toMatch(/maxmemory-policy noeviction/);
    expect(adviceOn("")).toEqual([]);
  });
});

describe("a server that is not there", () => {
  it("fails within its time, and what was given up is not sent on its return", async () => {
    await using redis = await startRedis();
    await redis.kill();
    const client = createClient({ url: redis.url, socket: { reconnectStrategy: 20 } });
    const away = new KeyvRedis(client as never);
    away.on("error", () => {});
    const ledger = new RedisLedger(new Keyv(away), { namespace: newNamespace(), timeoutMs: 100 });
    const failures = await Promise.all(
      [1, 2, 3].map(() => hold(ledger, [claimOf(money, 100, 70)]).then(String, (error: unknown) => error)),
    );
    for (const failure of failures) expect(failure).toBeInstanceOf(StoreError);
    await redis.restart();
    await expect.poll(() => client.isReady).toBe(true);
    await shows(ledger, money, {});
    await hold(ledger, [claimOf(money, 100, 70)]);
    await client.close();
  });
});
