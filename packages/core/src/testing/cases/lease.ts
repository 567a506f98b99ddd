import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { bill, claimOf, day, hold, lifetime, meterOf, minute, month, refused, shows } from "../drive.js";
import type { LedgerCase } from "../ledger-case.js";

const money = meterOf("workspace", "usd", month);
const tokens = meterOf("workspace", "tokens", month);
const calls = meterOf("workspace", "calls", minute);
const slots = meterOf("workspace", "in-flight", lifetime);
const claims = [claimOf(money, 1_000, 100), claimOf(tokens, 1_000, 50), claimOf(calls, 10), claimOf(slots, 2)];
const charging = { lease: { ms: 10_000, onExpiry: "charge" } } as const;
const releasing = { lease: { ms: 10_000, onExpiry: "release" } } as const;
/** Leases end by the second: one of 10 s is over after 11 at the latest. */
const OVER_MS = 11_000;

type Step = "settle" | "release" | "expire";

/** What a hold of 100 has cost after these steps and the end of its lease, when a settle brings a bill of 70. */
function costAfter(steps: readonly Step[], onExpiry: "charge" | "release"): number {
  if (steps.includes("settle")) return 70;
  return steps.includes("release") || onExpiry === "release" ? 0 : 100;
}

export const leaseCases: readonly LedgerCase[] = [
  {
    name: "a lease that charges counts its bound when it ends; the slot returns, the call stays counted",
    async run({ create, clock }) {
      const ledger = await create();
      await hold(ledger, claims, charging);
      clock.advance(9_999);
      await shows(ledger, money, { held: 100 });
      clock.advance(OVER_MS - 9_999);
      await shows(ledger, money, { settled: 100 });
      await shows(ledger, tokens, { settled: 50 });
      await shows(ledger, calls, { settled: 1 });
      await shows(ledger, slots, {});
    },
  },
  {
    name: "a lease that releases returns money, tokens and the slot; the call stays counted",
    async run({ create, clock }) {
      const ledger = await create();
      await hold(ledger, claims, releasing);
      clock.advance(OVER_MS);
      for (const meter of [money, tokens, slots]) await shows(ledger, meter, {});
      await shows(ledger, calls, { settled: 1 });
    },
  },
  {
    name: "five crashes do not shut a limit of five",
    async run({ create, clock }) {
      const ledger = await create();
      for (let crash = 0; crash < 5; crash++) await hold(ledger, [claimOf(slots, 5)], charging);
      await refused(ledger, [claimOf(slots, 5)]);
      clock.advance(OVER_MS);
      for (let call = 0; call < 5; call++) await hold(ledger, [claimOf(slots, 5)], charging);
      await refused(ledger, [claimOf(slots, 5)]);
    },
  },
  {
    name: "room held by a lease is free when it has ended, without anybody looking before",
    async run({ create, clock }) {
      const ledger = await create();
      await hold(ledger, [claimOf(money, 100, 100)], releasing);
      await refused(ledger, [claimOf(money, 100, 1)]);
      clock.advance(OVER_MS);
      await hold(ledger, [claimOf(money, 100, 100)], releasing);
      await shows(ledger, money, { held: 100 });
    },
  },
  {
    name: "settle, release and the lease's end count once, in any order and repetition",
    async run({ create, clock }) {
      const ledger = await create();
      const steps = ["settle", "release", "expire"] as const;
      for (let order = 0; order < 81; order++) {
        const sequence = [27, 9, 3, 1].map((power) => steps[Math.floor(order / power) % 3]!);
        for (const each of [charging, releasing]) {
          const account = `label:run:${order}-${each.lease.onExpiry}`;
          const spent = meterOf(account, "usd", lifetime);
          const busy = meterOf(account, "in-flight", lifetime);
          const open = await hold(ledger, [claimOf(spent, 1_000, 100), claimOf(busy, 2)], each);
          for (const step of sequence) {
            if (step === "settle") await ledger.settle(open, bill(70));
            else if (step === "release") await ledger.release(open);
            else clock.advance(OVER_MS);
          }
          const { onExpiry } = each.lease;
          const message = `${sequence.join(", ")} with a lease to ${onExpiry}`;
          // A sequence that never closes it still ends with its lease.
          clock.advance(OVER_MS);
          await shows(ledger, spent, { settled: costAfter(sequence, onExpiry) }, message);
          await shows(ledger, busy, {}, message);
        }
      }
    },
  },
  {
    name: "what closes say: settled, released, corrected, duplicate",
    async run({ create, clock }) {
      const ledger = await create();
      const [first, second, third] = [
        await hold(ledger, claims, charging),
        await hold(ledger, claims, charging),
        await hold(ledger, [claimOf(money, 1_000, 100)], releasing),
      ];
      clock.advance(OVER_MS);
      strictEqual((await ledger.settle(first, bill(30))).outcome, "corrected");
      strictEqual((await ledger.settle(first, bill(30))).outcome, "duplicate");
      strictEqual((await ledger.release(second)).outcome, "corrected");
      strictEqual((await ledger.release(second)).outcome, "duplicate");
      strictEqual((await ledger.settle(third, bill(200))).outcome, "corrected");
      await shows(ledger, money, { settled: 230 });
    },
  },
  {
    name: "the money of a lease is stamped at the instant it ended, however late it is looked at",
    async run({ create, clock }) {
      const ledger = await create();
      clock.advanceTo(Date.UTC(2026, 2, 10, 23, 59, 55));
      await hold(ledger, claims, charging);
      clock.advanceTo(Date.UTC(2026, 2, 13, 12));
      const days = (count: number) => meterOf("workspace", "usd", { kind: "days", days: count });
      await shows(ledger, days(2), {});
      await shows(ledger, days(3), { settled: 100 });
      await shows(ledger, money, { settled: 100 });
    },
  },
  {
    name: "a correction goes to the window that was charged; a negative one is dropped once that is forgotten",
    async run({ create, clock }) {
      const ledger = await create();
      const today = meterOf("workspace", "usd", day);
      const sliding = meterOf("workspace", "usd", minute);
      const all = meterOf("workspace", "usd", lifetime);
      const both = [claimOf(today, 1_000, 100), claimOf(sliding, 1_000, 100), claimOf(all, 1_000, 100)];
      const [less, more] = [await hold(ledger, both, charging), await hold(ledger, both, charging)];
      clock.advance(OVER_MS);
      for (const meter of [today, sliding, all]) await shows(ledger, meter, { settled: 200 });
      clock.advance(120_000);
      await shows(ledger, sliding, {});
      await ledger.settle(less, bill(40));
      await shows(ledger, sliding, {});
      await shows(ledger, today, { settled: 140 });
      await shows(ledger, all, { settled: 140 });
      await ledger.settle(more, bill(130));
      await shows(ledger, sliding, { settled: 30 });
      await shows(ledger, today, { settled: 170 });
      await shows(ledger, all, { settled: 170 });
    },
  },
  {
    name: "a correction of yesterday's charge leaves today's spend as it is",
    async run({ create, clock }) {
      const ledger = await create();
      const today = meterOf("workspace", "usd", day);
      clock.advanceTo(Date.UTC(2026, 2, 10, 23, 59, 40));
      const late = await hold(ledger, [claimOf(today, 1_000, 100)], charging);
      clock.advanceTo(Date.UTC(2026, 2, 11, 0, 1));
      await shows(ledger, today, {});
      await ledger.settle(await hold(ledger, [claimOf(today, 1_000, 50)]), bill(50));
      await ledger.settle(late, bill(30));
      await shows(ledger, today, { settled: 50 });
      await shows(ledger, money, { settled: 80 });
    },
  },
  {
    name: "renewed holds live on from now, and still count once",
    async run({ create, clock }) {
      const ledger = await create();
      const [kept, left] = [await hold(ledger, claims, charging), await hold(ledger, claims, releasing)];
      for (let round = 0; round < 5; round++) {
        clock.advance(8_000);
        deepStrictEqual(await ledger.renew([kept], 10_000), [true]);
      }
      await shows(ledger, money, { held: 100 });
      await shows(ledger, slots, { held: 1 });
      deepStrictEqual(await ledger.renew([left, kept], 10_000), [false, true]);
      strictEqual((await ledger.settle(kept, bill(70, 20))).outcome, "settled");
      await shows(ledger, money, { settled: 70 });
      await shows(ledger, slots, {});
      deepStrictEqual(await ledger.renew([kept, { ...left, id: "unknown" }], 10_000), [false, false]);
    },
  },
  {
    name: "a renewed lease ends when the renewal says",
    async run({ create, clock }) {
      const ledger = await create();
      await ledger.renew([await hold(ledger, claims, charging)], 30_000);
      clock.advance(29_000);
      await shows(ledger, money, { held: 100 });
      clock.advance(2_000);
      await shows(ledger, money, { settled: 100 });
      await shows(ledger, slots, {});
    },
  },
  {
    name: "a settle repeated after a long, renewed call is still a duplicate",
    async run({ create, clock }) {
      const ledger = await create();
      for (const lease of [charging, releasing]) {
        const open = await hold(ledger, [claimOf(money, 1_000, 100)], lease);
        for (let round = 0; round < 120; round++) {
          clock.advance(8_000);
          await ledger.renew([open], 10_000);
        }
        strictEqual((await ledger.settle(open, bill(70))).outcome, "settled");
        clock.advance(1_000);
        strictEqual((await ledger.settle(open, bill(70))).outcome, "duplicate");
      }
      await shows(ledger, money, { settled: 140 });
    },
  },
  {
    name: "a settle that comes long after its lease counts what the lease did not charge",
    async run({ create, clock }) {
      const ledger = await create();
      const [charged, released] = [
        await hold(ledger, [claimOf(money, 1_000, 100)], charging),
        await hold(ledger, [claimOf(money, 1_000, 100)], releasing),
      ];
      clock.advance(2 * 86_400_000);
      // Forgotten long ago: it was charged at its bound.
      strictEqual((await ledger.settle(charged, bill(70))).outcome, "duplicate");
      await shows(ledger, money, { settled: 100 });
      strictEqual((await ledger.settle(released, bill(70))).outcome, "orphan");
      strictEqual((await ledger.settle(released, bill(70))).outcome, "duplicate");
      await shows(ledger, money, { settled: 170 });
    },
  },
];
