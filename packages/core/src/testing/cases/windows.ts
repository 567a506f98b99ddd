import { deepStrictEqual, ok } from "node:assert/strict";
import type { Window } from "../../domain/claim.js";
import type { Hold, Ledger, Meter } from "../../ledger/ledger.js";
import { bill, claimOf, day, hold, lifetime, meterOf, minute, month, refused, requestOf, shows } from "../drive.js";
import type { LedgerCase } from "../ledger-case.js";

const week: Window = { kind: "calendar", unit: "week" };

async function spend(ledger: Ledger, meter: Meter, amount: number): Promise<void> {
  await ledger.settle(await hold(ledger, [claimOf(meter, Infinity, amount)]), bill(amount, amount));
}

/** Zone, window, its first ms and its last; one after the other. */
const turns: readonly (readonly [string, Window, string, string])[] = [
  ["UTC", day, "2026-03-31T00:00:00.000Z", "2026-03-31T23:59:59.999Z"],
  ["UTC", week, "2026-04-06T00:00:00.000Z", "2026-04-12T23:59:59.999Z"],
  // Midnight does not exist: the day begins at 01:00 and has 23 hours.
  ["Africa/Cairo", day, "2026-04-23T22:00:00.000Z", "2026-04-24T20:59:59.999Z"],
  ["UTC", { kind: "calendar", unit: "minute" }, "2026-05-01T10:20:00.000Z", "2026-05-01T10:20:59.999Z"],
  ["Asia/Kolkata", { kind: "calendar", unit: "hour" }, "2026-05-01T11:00:00.000Z", "2026-05-01T11:59:59.999Z"],
  ["Asia/Kolkata", day, "2026-05-03T18:30:00.000Z", "2026-05-04T18:29:59.999Z"],
  ["Europe/Berlin", month, "2026-06-30T22:00:00.000Z", "2026-07-31T21:59:59.999Z"],
  // 25 hours, and 23.
  ["America/New_York", day, "2026-11-01T04:00:00.000Z", "2026-11-02T04:59:59.999Z"],
  ["America/New_York", day, "2027-03-14T05:00:00.000Z", "2027-03-15T03:59:59.999Z"],
  ["UTC", month, "2028-02-01T00:00:00.000Z", "2028-02-29T23:59:59.999Z"],
];

export const windowCases: readonly LedgerCase[] = [
  {
    name: "calendar windows turn where their zone says: midnight, Monday, the first",
    async run({ create, clock }) {
      const ledger = await create();
      for (const [i, [timeZone, window, first, last]] of turns.entries()) {
        const meter = meterOf(`label:turn:${i}`, "usd", window, timeZone);
        const message = `${timeZone} ${JSON.stringify(window)} ${first}`;
        clock.advanceTo(Date.parse(first) - 1);
        await spend(ledger, meter, 1);
        clock.advance(1);
        await shows(ledger, meter, {}, `${message} begins`);
        await spend(ledger, meter, 10);
        clock.advanceTo(Date.parse(last));
        await shows(ledger, meter, { settled: 10 }, `${message} lasts`);
        await refused(ledger, [claimOf(meter, 10, 1)]);
        clock.advance(1);
        await shows(ledger, meter, {}, `${message} ends`);
        await hold(ledger, [claimOf(meter, 10, 1)]);
      }
    },
  },
  {
    name: "a window of days counts today and the days before",
    async run({ create, clock }) {
      const ledger = await create();
      const meter = (days: number) => meterOf("workspace", "usd", { kind: "days", days }, "Europe/Berlin");
      for (let spent = 1; spent <= 1_000; spent *= 10) {
        await spend(ledger, meter(7), spent);
        clock.advance(86_400_000);
      }
      await shows(ledger, meter(1), {});
      await shows(ledger, meter(2), { settled: 1_000 });
      await shows(ledger, meter(4), { settled: 1_110 });
      await shows(ledger, meter(7), { settled: 1_111 });
    },
  },
  {
    name: "ninety days are kept though another claim of the same call looks at the month only",
    async run({ create, clock }) {
      const ledger = await create();
      const monthly = meterOf("workspace", "usd", month);
      const quarter = meterOf("workspace", "usd", { kind: "days", days: 90 });
      for (let day = 0; day < 80; day += 20) {
        const open = await hold(ledger, [claimOf(monthly, Infinity, 5), claimOf(quarter, 100, 5)]);
        await ledger.settle(open, bill(5));
        clock.advance(20 * 86_400_000);
        // Nor does a call that claims the month alone.
        await spend(ledger, monthly, 1);
      }
      await shows(ledger, quarter, { settled: 24 });
    },
  },
  {
    name: "an open hold counts in whichever window is current, and settles into it",
    async run({ create, clock }) {
      const ledger = await create();
      const today = meterOf("workspace", "usd", day);
      clock.advanceTo(Date.UTC(2026, 2, 10, 23, 59, 50));
      const open: Hold[] = [];
      for (let call = 0; call < 10; call++) open.push(await hold(ledger, [claimOf(today, 100, 10)]));
      clock.advance(20_000);
      await shows(ledger, today, { held: 100 });
      await refused(ledger, [claimOf(today, 100, 10)]);
      for (const each of open) await ledger.settle(each, bill(10));
      await shows(ledger, today, { settled: 100 });
      await refused(ledger, [claimOf(today, 100, 10)]);
      clock.advance(86_400_000);
      await hold(ledger, [claimOf(today, 100, 100)]);
    },
  },
  {
    name: "a sliding window is never over its limit in any true window of its length",
    async run({ create, clock }) {
      const ledger = await create();
      for (const ms of [1_000, 60_000, 3_600_000]) {
        const rate = meterOf("workspace", "calls", { kind: "sliding", ms });
        const admitted: number[] = [];
        for (let seed = 7, call = 0; call < 400; call++) {
          seed = (seed * 48_271) % 2_147_483_647;
          clock.advance(Math.floor((seed / 2_147_483_647) ** 3 * (ms / 4)));
          const answer = await ledger.reserve(requestOf([claimOf(rate, 12)]));
          if (answer.kind === "held") admitted.push(clock.now());
        }
        ok(admitted.length > 50, `only ${admitted.length} calls were let through`);
        for (const [i, at] of admitted.entries()) {
          const inWindow = admitted.slice(0, i + 1).filter((other) => other > at - ms).length;
          ok(inWindow <= 12, `${inWindow} calls within ${ms} ms`);
        }
      }
    },
  },
  {
    name: "a sliding window frees what has left it at most a thirtieth late, and says when",
    async run({ create, clock }) {
      const ledger = await create();
      for (const ms of [1_000, 60_000, 77_777]) {
        for (const offset of [0, 1, 333, 1_999]) {
          const rate = meterOf(`label:rate:${ms}-${offset}`, "calls", { kind: "sliding", ms });
          clock.advance(offset);
          await hold(ledger, [claimOf(rate, 1)]);
          const [shortage] = await refused(ledger, [claimOf(rate, 1)]);
          const wait = shortage!.retryAfterMs!;
          ok(wait >= ms && wait <= Math.ceil((ms * 31) / 30), `${wait} ms for a window of ${ms}`);
          clock.advance(wait - 1);
          await refused(ledger, [claimOf(rate, 1)]);
          clock.advance(1);
          await hold(ledger, [claimOf(rate, 1)]);
        }
      }
    },
  },
  {
    name: "calls are stamped at their reserve, money at its settle",
    async run({ create, clock }) {
      const ledger = await create();
      const rate = meterOf("workspace", "calls", minute);
      const speed = meterOf("workspace", "usd", minute);
      const open = await hold(ledger, [claimOf(rate, 10), claimOf(speed, 100, 40)]);
      clock.advance(45_000);
      await ledger.settle(open, bill(40));
      clock.advance(30_000);
      await shows(ledger, rate, {});
      await shows(ledger, speed, { settled: 40 });
      clock.advance(35_000);
      await shows(ledger, speed, {});
    },
  },
  {
    name: "a refusal says when the window has turned far enough, and nothing where only holds or nothing can free room",
    async run({ create, clock }) {
      const ledger = await create();
      const today = meterOf("workspace", "usd", day);
      const all = meterOf("workspace", "usd", lifetime);
      const slots = meterOf("workspace", "in-flight", lifetime);
      await spend(ledger, today, 60);
      await spend(ledger, all, 60);
      await hold(ledger, [claimOf(today, Infinity, 20), claimOf(slots, 1)]);
      const shortages = await refused(ledger, [
        claimOf(today, 100, 50),
        // Fits as soon as the hold of 20 returns.
        claimOf(today, 100, 30),
        claimOf(all, 100, 50),
        claimOf(today, 40, 50),
        claimOf(slots, 1),
      ]);
      const untilMidnight = Date.UTC(2026, 2, 11) - clock.now();
      deepStrictEqual(
        shortages.map(({ claim, retryAfterMs }) => [claim, retryAfterMs]),
        [
          [0, untilMidnight],
          [1, undefined],
          [2, undefined],
          [3, undefined],
          [4, undefined],
        ],
      );
    },
  },
];
