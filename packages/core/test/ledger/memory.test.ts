import { describe, expect, it } from "vitest";
import { systemClock } from "../../src/clock.js";
import { MemoryLedger } from "../../src/ledger/memory.js";
import { bill, claimOf, hold, lifetime, meterOf, minute, month, shows } from "../../src/testing/drive.js";
import { ledgerSuite, ManualClock } from "../../src/testing/index.js";

ledgerSuite({ name: "MemoryLedger", create: (clock) => new MemoryLedger({ clock }), describe, it });

describe("MemoryLedger", () => {
  it("answers at once", () => {
    const ledger = new MemoryLedger();
    expect(ledger.read([])).toEqual([]);
    expect(ledger.check([], { floor: 0, want: 0 })).toEqual([]);
  });

  it("does not forget an account in the moment it makes it", async () => {
    // The sweep comes with every 32nd hold or account: it once took the new, still empty account with it.
    const ledger = new MemoryLedger();
    for (let call = 0; call < 200; call++) {
      // One hold on a known account, so that the 32nd change is now a hold and now an account.
      if (call % 50 === 0) await hold(ledger, [claimOf(meterOf("workspace", "usd", month), Infinity)]);
      const user = meterOf(`label:user_id:${call}`, "usd", month);
      await ledger.settle(await hold(ledger, [claimOf(user, 100, 10)]), bill(10));
      await shows(ledger, user, { settled: 10 }, `call ${call}`);
    }
  });

  it("forgets what counts no more, whatever the history", async () => {
    const clock = new ManualClock();
    const ledger = new MemoryLedger({ clock });
    for (let call = 0; call < 20_000; call++) {
      clock.advance(1_000);
      const user = meterOf(`label:user_id:${call}`, "usd", minute);
      await ledger.settle(await hold(ledger, [claimOf(user, 100, 10)]), bill(10));
    }
    // About three minutes' worth of accounts count at any time, and nobody had to ask for the others to go.
    await hold(ledger, [claimOf(meterOf("new", "usd", minute), 100, 10)], { maxAccounts: 300 });
  });

  it.each(["charge", "release"] as const)(
    "whose clock was set back behind the end of a lease charges the late bill alone: %s",
    async (onExpiry) => {
      let now = Date.UTC(2026, 2, 10, 12);
      const ledger = new MemoryLedger({ clock: { ...systemClock, now: () => now } });
      const money = meterOf("workspace", "usd", month);
      const claims = [claimOf(money, 100, 70), claimOf(meterOf("workspace", "in-flight", lifetime), 5)];
      const open = await hold(ledger, claims, { lease: { ms: 1_000, onExpiry } });
      now += 2_000;
      await hold(ledger, [claimOf(money, 100, 1), claims[1]!]);
      now -= 1_500;
      await ledger.settle(open, bill(30));
      now += 2_500;
      await shows(ledger, money, { settled: 30, held: 1 });
      await shows(ledger, claims[1]!.meter, { held: 1 });
    },
  );
});
