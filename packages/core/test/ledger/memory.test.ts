import { describe, expect, it } from "vitest";
import { MemoryLedger } from "../../src/ledger/memory.js";
import { bill, claimOf, hold, meterOf, minute, month, shows } from "../../src/testing/drive.js";
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
});
