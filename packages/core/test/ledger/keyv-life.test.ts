import { Keyv } from "keyv";
import { describe, expect, it } from "vitest";
import { StateLostError } from "../../src/errors/store-error.js";
import { KeyvLedger } from "../../src/ledger/keyv.js";
import { bill, claimOf, hold, lifetime, meterOf, month, requestOf, shows } from "../../src/testing/drive.js";
import { flush, TestAdapter } from "./adapter.js";

const money = meterOf("workspace", "usd", month);
const slots = meterOf("label:user_id:ada", "in-flight", lifetime);
const claims = [claimOf(money, 1_000, 100), claimOf(slots, 10)];

describe("the life of KeyvLedger's state", () => {
  it("goes on in a ledger opened later", async () => {
    const stored = new Map<string, unknown>();
    const first = new KeyvLedger(new Keyv({ store: new TestAdapter(stored) }));
    const open = await hold(first, claims);
    await first.settle(await hold(first, claims), bill(70));
    const second = new KeyvLedger(new Keyv({ store: new TestAdapter(stored) }));
    await shows(second, money, { settled: 70, held: 100 });
    expect((await second.settle(open, bill(30))).outcome).toBe("settled");
    await shows(second, money, { settled: 100 });
    await shows(second, slots, {});
  });

  it.each(["clear", "replace"] as const)("is lost when somebody makes the store %s", async (how) => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }), { namespace: "prod" });
    const open = await hold(ledger, claims);
    const saved = new Map(adapter.stored);
    adapter.stored.clear();
    if (how === "replace") await hold(new KeyvLedger(new Keyv({ store: adapter }), { namespace: "prod" }), claims);
    const operations = [
      () => ledger.reserve(requestOf(claims)),
      () => ledger.settle(open, bill(1)),
      () => ledger.release(open),
      () => ledger.renew([open], 1),
      () => ledger.read([money]),
      () => ledger.check(claims, { floor: 1, want: 1 }),
      () => ledger.amend("workspace", {}),
    ];
    for (const each of operations) {
      const error: unknown = await each().then(String, (reason: unknown) => reason);
      expect(StateLostError.isInstance(error)).toBe(true);
      expect(String(error)).toContain('"prod"');
    }
    for (const [key, value] of saved) adapter.stored.set(key, value);
    await shows(ledger, money, { held: 100 });
  });

  it("begins again at zero when the loss is accepted, and knows the holds of the former one", async () => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    const open = await hold(ledger, claims);
    // Only the head is evicted: what is left of the former life does not count.
    adapter.stored.delete("driftlock::v1::head");
    await expect(ledger.read([money])).rejects.toThrow("acceptLoss");
    await ledger.acceptLoss();
    await shows(ledger, money, {});
    await hold(ledger, claims, { maxAccounts: 2 });
    expect((await ledger.settle(open, bill(70))).outcome).toBe("orphan");
    expect((await ledger.settle(open, bill(70))).outcome).toBe("duplicate");
    await shows(ledger, money, { settled: 70, held: 100 });
    await shows(ledger, slots, { held: 1 });
  });

  it("goes on with another life that is there when the loss is accepted", async () => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    await hold(ledger, claims);
    adapter.stored.clear();
    const other = new KeyvLedger(new Keyv({ store: adapter }));
    await other.settle(await hold(other, claims), bill(40));
    await ledger.acceptLoss();
    await shows(ledger, money, { settled: 40 });
    await shows(other, money, { settled: 40 });
  });

  it("stays as it is when nothing was lost", async () => {
    const ledger = new KeyvLedger(new Keyv({ store: new TestAdapter() }));
    await hold(ledger, claims);
    await ledger.acceptLoss();
    await shows(ledger, money, { held: 100 });
  });

  it("is lost when an older copy takes its place", async () => {
    const adapter = new TestAdapter();
    const ledger = new KeyvLedger(new Keyv({ store: adapter }));
    await hold(ledger, claims);
    const backup = new Map(adapter.stored);
    await ledger.settle(await hold(ledger, claims), bill(70));
    for (const [key, value] of backup) adapter.stored.set(key, value);
    await expect(ledger.read([money])).rejects.toSatisfy((error) => StateLostError.isInstance(error));
    await ledger.acceptLoss();
    await shows(ledger, money, {});
  });

  it("is not begun anew where a head is missing but a commit was made", async () => {
    const adapter = new TestAdapter();
    await hold(new KeyvLedger(new Keyv({ store: adapter })), claims);
    adapter.stored.delete("driftlock::v1::head");
    const opened = new KeyvLedger(new Keyv({ store: adapter }));
    await expect(opened.read([money])).rejects.toSatisfy((error) => StateLostError.isInstance(error));
  });

  it("is one though two processes begin it at the same time", async () => {
    const stored = new Map<string, unknown>();
    const adapters = [1, 2].map(() => new TestAdapter(stored));
    const ledgers = adapters.map((store) => new KeyvLedger(new Keyv({ store })));
    adapters[1]!.intercept = async ({ method, perform }) => {
      if (method === "set") await flush();
      return perform();
    };
    await Promise.all(ledgers.map(async (ledger) => shows(ledger, money, {})));
    for (const ledger of ledgers) await hold(ledger, claims);
    for (const ledger of ledgers) await shows(ledger, money, { held: 200 });
  });
});
