import { Keyv } from "keyv";
import { describe, expect, it } from "vitest";
import { StoreError } from "../../src/errors/store-error.js";
import { KeyvLedger } from "../../src/ledger/keyv.js";
import type { Hold, Ledger } from "../../src/ledger/ledger.js";
import { bill, claimOf, hold, lifetime, meterOf, month, requestOf, shows } from "../../src/testing/drive.js";
import { ManualClock } from "../../src/testing/index.js";
import { flush, hanging, TestAdapter, type Call, type Method } from "./adapter.js";

const money = meterOf("workspace", "usd", month);
const slots = meterOf("label:user_id:ada", "in-flight", lifetime);
const claims = [claimOf(money, 1_000, 100), claimOf(slots, 10)];
const batch: readonly Method[] = ["get", "getMany", "set", "setMany", "delete", "deleteMany"];
const single: readonly Method[] = ["get", "set", "delete"];

/** Waits for an answer, and moves the clock past the ledger's deadline where none comes. */
async function inTime<T>(clock: ManualClock, answer: Promise<T>): Promise<T> {
  let isSettled = false;
  const settle = () => void (isSettled = true);
  answer.then(settle, settle);
  for (let wait = 0; wait < 6 && !isSettled; wait++) {
    await flush();
    if (!isSettled) clock.advance(500);
  }
  await flush();
  if (!isSettled) throw new Error("the ledger is stuck");
  return answer;
}

/** What happens to a call. `landed` tells a fault that its late work has to be done now. */
type Fault = (call: Call, landed: Promise<unknown>) => unknown;

const faults: Record<string, { readonly methods: readonly Method[]; readonly fault: Fault }> = {
  hangs: { methods: batch, fault: () => new Promise(() => {}) },
  "hangs and lands late": { methods: batch, fault: ({ perform }, landed) => landed.then(perform) },
  "fails late, half done": {
    methods: ["setMany"],
    fault: ({ perform }, landed) =>
      landed.then(() => {
        perform();
        throw new Error("connection lost");
      }),
  },
  "throws before it did anything": {
    methods: batch,
    fault: () => {
      throw new Error("out of order");
    },
  },
  "throws when it is done": {
    methods: batch,
    fault: ({ perform }) => {
      perform();
      throw new Error("the answer was lost");
    },
  },
  "answers false and does nothing": { methods: batch, fault: () => false },
  "answers undefined and does nothing": { methods: ["set", "setMany", "delete", "deleteMany"], fault: () => undefined },
  "answers undefined when it is done": {
    methods: ["set", "setMany", "delete", "deleteMany"],
    fault: ({ perform }) => void perform(),
  },
  "answers too few": { methods: ["getMany"], fault: ({ perform }) => (perform() as unknown[]).slice(0, -1) },
  "mixes two answers up": {
    methods: ["getMany"],
    fault: ({ perform }) => {
      const [head, first, second, ...rest] = perform() as unknown[];
      return second === undefined ? [head, first] : [head, second, first, ...rest];
    },
  },
  "answers garbage": {
    methods: ["get", "getMany"],
    fault: ({ method, keys }) => (method === "get" ? "{" : keys.map(() => '{"value":{"s":"oops"}}')),
  },
  "answers another number": {
    methods: ["get", "getMany"],
    fault: ({ method, perform }) => {
      const mangle = (text: unknown) => (typeof text === "string" ? text.replace(/"h":\d+/, '"h":null') : text);
      const answer = perform();
      return method === "get" ? mangle(answer) : (answer as unknown[]).map(mangle);
    },
  },
};

/** Does what an engine does: a reserve without an answer is released, a close without one is repeated. */
class Caller {
  readonly errors: unknown[] = [];
  spent = 0;
  readonly #ledger: Ledger;
  readonly #clock: ManualClock;

  constructor(ledger: Ledger, clock: ManualClock) {
    this.#ledger = ledger;
    this.#clock = clock;
  }

  async reserve(): Promise<Hold | undefined> {
    const request = requestOf(claims);
    const answer = await this.#try(async () => this.#ledger.reserve(request));
    if (answer?.kind === "held") return answer.hold;
    expect(answer).toBeUndefined();
    const meters = claims.map(({ meter }) => meter);
    const unsure: Hold = { ...request, epoch: "", meters, amounts: [100, 1], expiresAt: Infinity, onExpiry: "charge" };
    await this.close({ ...unsure, expiresAt: this.#clock.now() + 60_000 }, 0);
    return undefined;
  }

  async close(open: Hold | undefined, usd: number): Promise<void> {
    if (open === undefined) return;
    for (let attempt = 0; attempt < 5; attempt++) {
      const closed = await this.#try(async () =>
        usd === 0 ? this.#ledger.release(open) : this.#ledger.settle(open, bill(usd)),
      );
      if (closed === undefined) continue;
      this.spent += usd;
      return;
    }
    throw new Error("the ledger did not recover");
  }

  async #try<T>(ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await inTime(this.#clock, ask());
    } catch (error) {
      expect(StoreError.isInstance(error), String(error)).toBe(true);
      this.errors.push(error);
      return undefined;
    }
  }
}

async function survive(
  methods: readonly Method[],
  method: Method,
  fault: Fault,
  nth: number,
  landAfter: number,
): Promise<boolean> {
  const adapter = new TestAdapter(new Map(), { methods });
  const clock = new ManualClock();
  const ledger = new KeyvLedger(new Keyv({ store: adapter }), { clock });
  await inTime(clock, shows(ledger, money, {}));
  const late = hanging();
  let seen = 0;
  adapter.intercept = (call) => (call.method === method && seen++ === nth ? fault(call, late.promise) : call.perform());

  const caller = new Caller(ledger, clock);
  let step = 0;
  const land = async () => {
    if (step++ === landAfter) late.release();
    await flush();
  };
  const first = await caller.reserve();
  await land();
  const second = await caller.reserve();
  await land();
  await caller.close(first, 70);
  await land();
  const third = await caller.reserve();
  await caller.close(second, 0);
  await land();
  await caller.close(third, 130);
  await caller.close(third, 0);
  late.release();
  await flush();
  adapter.intercept = ({ perform }) => perform();

  const expected = { settled: caller.spent };
  await inTime(clock, shows(ledger, money, expected));
  await inTime(clock, shows(ledger, slots, {}));
  const reopened = new KeyvLedger(new Keyv({ store: new TestAdapter(adapter.stored) }), { clock });
  await shows(reopened, money, expected, "after it was opened again");
  await shows(reopened, slots, {}, "after it was opened again");
  return seen > nth;
}

describe.each([
  ["with batch methods", batch],
  ["without batch methods", single],
] as const)("over an adapter %s KeyvLedger counts every call once though", (_, methods) => {
  const cases = Object.entries(faults).flatMap(([what, { methods: affected, fault }]) =>
    affected.filter((method) => methods.includes(method)).map((method) => ({ method, what, fault })),
  );
  it.each(cases)("$method $what", async ({ method, fault }) => {
    let reached = 0;
    for (let nth = 0; nth < 24; nth++) {
      for (const landAfter of [0, 1, 3]) if (await survive(methods, method, fault, nth, landAfter)) reached++;
    }
    // Else the fault never came up: a test that cannot fail.
    const isUsed = !(methods === batch && (method === "get" || method === "delete" || method === "deleteMany"));
    if (isUsed) expect(reached).toBeGreaterThanOrEqual(6);
  });
});

describe("a write that was given up", () => {
  /** A ledger with one commit done; `given` is what its next `setMany`, or `set`, does later. */
  async function open(method: Method) {
    const adapter = new TestAdapter();
    const clock = new ManualClock();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }), { clock });
    const first = await hold(ledger, claims);
    const late = hanging();
    let land = () => {};
    adapter.intercept = ({ method: called, perform }) => {
      if (called !== method) return perform();
      adapter.intercept = (call) => call.perform();
      land = () => {
        perform();
        late.release(true);
      };
      return late.promise;
    };
    await expect(inTime(clock, ledger.settle(first, bill(70)))).rejects.toThrow("no answer within 500 ms");
    const reopen = (stored = adapter.stored) => new KeyvLedger(new Keyv({ store: new TestAdapter(stored) }), { clock });
    return { adapter, clock, ledger, land: () => land(), reopen };
  }

  it("is mended as soon as it lands, also when nothing else is asked", async () => {
    const { ledger, land, reopen } = await open("setMany");
    await hold(ledger, claims);
    // Another commit, so that doing the last one again does not mend it.
    await ledger.amend("elsewhere", { status: "frozen" });
    await shows(reopen(), money, { settled: 70, held: 100 });
    land();
    await flush();
    await shows(reopen(), money, { settled: 70, held: 100 });
  });

  it("does not show through before it is mended", async () => {
    const { adapter, ledger, land } = await open("setMany");
    await hold(ledger, claims);
    land();
    adapter.intercept = ({ method, perform }) => (method === "getMany" ? perform() : new Promise(() => {}));
    await shows(ledger, money, { settled: 70, held: 100 });
  });

  it("does no harm when it lands in the middle of a later one", async () => {
    const { adapter, ledger, land, reopen } = await open("setMany");
    let writes = 0;
    adapter.intercept = async ({ method, perform }) => {
      const answer = perform();
      // The first one finishes the commit that was broken off.
      if (method !== "setMany" || ++writes !== 2) return answer;
      const done = new Map(adapter.stored);
      land();
      expect(adapter.stored).not.toEqual(done);
      await flush();
      return answer;
    };
    await hold(ledger, claims);
    await flush();
    await shows(ledger, money, { settled: 70, held: 100 });
    await shows(reopen(), money, { settled: 70, held: 100 });
  });

  it("is not done again when the process dies: it was not the last", async () => {
    const { adapter, ledger, land, reopen } = await open("set");
    await hold(ledger, claims);
    land();
    const atDeath = new Map(adapter.stored);
    await shows(ledger, money, { held: 200 });
    await shows(reopen(atDeath), money, { held: 200 });
  });
});

describe("KeyvLedger over a store in trouble", () => {
  it("finishes a commit from memory whose redo record was dropped without a word", async () => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    const first = await hold(ledger, claims);
    adapter.intercept = ({ method, keys, perform }) => {
      if (method === "set") return undefined;
      if (method !== "setMany") return perform();
      const rest = keys.slice(1).map((key) => [key, adapter.stored.get(key)] as const);
      perform();
      for (const [key, value] of rest) adapter.stored.set(key, value);
      throw new Error("connection lost");
    };
    await expect(ledger.settle(first, bill(70))).rejects.toThrow("connection lost");
    adapter.intercept = ({ perform }) => perform();
    await shows(ledger, money, { settled: 70 });
    await shows(ledger, slots, {});
  });

  it("deletes one by one where deleteMany ends at the first key that is not there", async () => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    const open = [await hold(ledger, claims), await hold(ledger, claims)];
    Object.assign(adapter, { deleteMany: async (keys: string[]) => keys.every((key) => adapter.stored.delete(key)) });
    adapter.intercept = ({ method, perform }) => {
      if (method === "setMany") adapter.stored.delete(`driftlock::v1::hold:${open[0]!.id}`);
      return perform();
    };
    await Promise.all(open.map(async (each) => ledger.settle(each, bill(70))));
    expect((await ledger.settle(open[1]!, bill(70))).outcome).toBe("duplicate");
    await shows(ledger, money, { settled: 140 });
  });

  it("is not held up for ever by one call that never comes back", async () => {
    const adapter = new TestAdapter();
    const clock = new ManualClock();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }), { clock, timeoutMs: 300 });
    await shows(ledger, money, {});
    adapter.intercept = () => new Promise(() => {});
    const first = Promise.allSettled([ledger.reserve(requestOf(claims)), ledger.read([money])]);
    await flush();
    adapter.intercept = ({ perform }) => perform();
    const second = hold(ledger, claims);
    clock.advance(299);
    await flush();
    clock.advance(1);
    expect((await first).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await second;
    await shows(ledger, money, { held: 100 });
  });

  it("refuses what waited through two failed commits, instead of growing without end", async () => {
    const adapter = new TestAdapter();
    const clock = new ManualClock();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }), { clock });
    await shows(ledger, money, {});
    adapter.intercept = () => new Promise(() => {});
    let failed = 0;
    for (let call = 0; call < 3_000; call++) ledger.read([money, slots]).catch(() => failed++);
    await flush();
    for (let wait = 0; wait < 2; wait++) {
      clock.advance(500);
      await flush();
    }
    expect(failed).toBe(3_000);
  });

  it.each(["set", "setMany"] as const)("takes a %s that answers false at its word", async (method) => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    await shows(ledger, money, {});
    adapter.intercept = (call) => {
      const answer = call.perform();
      return call.method === method ? false : answer;
    };
    await expect(hold(ledger, claims)).rejects.toThrow(`${method} answered false`);
  });

  it("names the operation and keeps the cause", async () => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    const cause = new Error("ECONNREFUSED");
    adapter.intercept = () => {
      throw cause;
    };
    await expect(ledger.reserve(requestOf(claims))).rejects.toMatchObject({
      name: "StoreError",
      operation: "reserve",
      cause,
      message: expect.stringContaining("ECONNREFUSED"),
    });
  });

  it("refuses a store that takes writes and forgets them", async () => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    adapter.intercept = ({ method, perform }) => (method.startsWith("set") ? true : perform());
    await expect(ledger.read([money])).rejects.toThrow("does not keep what is written");
  });

  it("refuses a Keyv whose serializer does not give back what it got", async () => {
    const ledger = new KeyvLedger(
      new Keyv({ store: new TestAdapter(), serialize: () => "{}", deserialize: () => ({}) }),
    );
    await expect(ledger.read([money])).rejects.toThrow("does not give back");
  });
});
