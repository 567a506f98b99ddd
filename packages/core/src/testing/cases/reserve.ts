import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { MeterClaim } from "../../ledger/ledger.js";
import { bill, claimOf, day, hold, lifetime, meterOf, minute, month, refused, requestOf, shows } from "../drive.js";
import type { LedgerCase } from "../ledger-case.js";

const money = meterOf("workspace", "usd", month);
const ada = meterOf("label:user_id:ada", "usd", month);
const calls = meterOf("workspace", "calls", minute);
const slots = meterOf("workspace", "in-flight", lifetime);

export const reserveCases: readonly LedgerCase[] = [
  {
    name: "reserve holds all claims of a call, or none of them",
    async run({ create }) {
      const ledger = await create();
      const claims = [claimOf(money, 100, 20), claimOf(slots, 5), claimOf(calls, 5), claimOf(ada, 10, 20)];
      const shortages = await refused(ledger, claims);
      deepStrictEqual(shortages, [{ claim: 3, limit: 10, settled: 0, held: 0, want: 20, floor: 20 }]);
      for (const { meter } of claims) await shows(ledger, meter, {});
      await hold(ledger, claims.slice(0, 3));
      await shows(ledger, money, { held: 20 });
      await shows(ledger, slots, { held: 1 });
      await shows(ledger, calls, { settled: 1 });
      await shows(ledger, ada, {});
    },
  },
  {
    name: "reserve names every claim without room, in order, with what it saw",
    async run({ create }) {
      const ledger = await create();
      const first = await hold(ledger, [claimOf(money, 100, 40)]);
      await ledger.settle(first, bill(30));
      await hold(ledger, [claimOf(money, 100, 25)]);
      const shortages = await refused(ledger, [claimOf(money, 60, 10), claimOf(ada, 10, 10), claimOf(slots, 0)]);
      // 30 and 10 fit under 60 as soon as what is held returns: no window has to turn.
      deepStrictEqual(shortages, [
        { claim: 0, limit: 60, settled: 30, held: 25, want: 10, floor: 10 },
        { claim: 2, limit: 0, settled: 0, held: 0, want: 1, floor: 1 },
      ]);
    },
  },
  {
    name: "a claim fits up to the limit exactly, counting what is settled and what is held",
    async run({ create }) {
      const ledger = await create();
      const first = await hold(ledger, [claimOf(money, 100, 60)]);
      await ledger.settle(first, bill(50));
      await hold(ledger, [claimOf(money, 100, 30)]);
      await refused(ledger, [claimOf(money, 100, 21)]);
      await hold(ledger, [claimOf(money, 100, 20)]);
      await refused(ledger, [claimOf(money, 100, 1)]);
      await shows(ledger, money, { settled: 50, held: 50 });
    },
  },
  {
    name: "once settled has reached the limit nothing fits, not even a claim of nothing",
    async run({ create }) {
      const ledger = await create();
      await refused(ledger, [claimOf(money, 0, 0)]);
      const first = await hold(ledger, [claimOf(money, 100, 100)]);
      await hold(ledger, [claimOf(money, 100, 0)]);
      await ledger.settle(first, bill(99));
      await hold(ledger, [claimOf(money, 100, 0)]);
      const last = await hold(ledger, [claimOf(money, 100, 1)]);
      await ledger.settle(last, bill(1));
      await refused(ledger, [claimOf(money, 100, 0)]);
    },
  },
  {
    name: "of 100 parallel calls of $0.10 against $1.00 exactly ten are held",
    async run({ create }) {
      const ledger = await create();
      const claims = [claimOf(money, 1_000_000_000, 100_000_000), claimOf(ada, 5_000_000_000, 100_000_000)];
      const answers = await Promise.all(Array.from({ length: 100 }, async () => ledger.reserve(requestOf(claims))));
      const holds = answers.flatMap((answer) => (answer.kind === "held" ? [answer.hold] : []));
      strictEqual(holds.length, 10);
      ok(answers.every(({ kind }) => kind === "held" || kind === "short"));
      await shows(ledger, money, { held: 1_000_000_000 });
      await Promise.all(holds.map(async (each) => ledger.settle(each, bill(100_000_000))));
      await shows(ledger, money, { settled: 1_000_000_000 });
      await shows(ledger, ada, { settled: 1_000_000_000 });
      await refused(ledger, claims);
    },
  },
  {
    name: "room that a close returns is there for the next reserve, and only once",
    async run({ create }) {
      const ledger = await create();
      const claims = [claimOf(money, 100, 50)];
      const open = [await hold(ledger, claims), await hold(ledger, claims)];
      const answers = await Promise.all([
        ...open.map(async (each) => ledger.release(each)),
        ...Array.from({ length: 10 }, async () => ledger.reserve(requestOf(claims))),
      ]);
      const held = answers.filter((answer) => "kind" in answer && answer.kind === "held").length;
      ok(held <= 2, `${held} calls were held`);
      for (let rest = held; rest < 2; rest++) await hold(ledger, claims);
      await refused(ledger, claims);
      await shows(ledger, money, { held: 100 });
    },
  },
  {
    name: "claims of one call on one series are held once and checked against each limit",
    async run({ create }) {
      const ledger = await create();
      const today = meterOf("workspace", "usd", day);
      const claims = [claimOf(money, 100, 40), claimOf(money, 60, 40), claimOf(today, 70, 40)];
      const first = await hold(ledger, claims);
      strictEqual(first.meters.length, 1);
      deepStrictEqual(first.amounts, [40]);
      await shows(ledger, money, { held: 40 });
      const shortages = await refused(ledger, claims);
      deepStrictEqual(
        shortages.map(({ claim, held }) => [claim, held]),
        [
          [1, 40],
          [2, 40],
        ],
      );
      await ledger.settle(first, bill(35));
      await shows(ledger, money, { settled: 35 });
      await shows(ledger, today, { settled: 35 });
    },
  },
  {
    name: "measures and accounts are counted apart",
    async run({ create }) {
      const ledger = await create();
      const tokens = meterOf("workspace", "tokens", month);
      const eve = meterOf("label:user_id:Ada", "usd", month);
      const first = await hold(ledger, [claimOf(money, 10, 10), claimOf(tokens, 500, 500), claimOf(ada, 10, 10)]);
      await hold(ledger, [claimOf(eve, 10, 10)]);
      await ledger.settle(first, bill(7, 300));
      await shows(ledger, money, { settled: 7 });
      await shows(ledger, tokens, { settled: 300 });
      await shows(ledger, ada, { settled: 7 });
      await shows(ledger, eve, { held: 10 });
    },
  },
  {
    name: "a shadow claim is recorded, reported when it would refuse, and never refuses",
    async run({ create }) {
      const ledger = await create();
      const shadow = claimOf(money, 10, 20, { shadow: true });
      const answer = await ledger.reserve(requestOf([claimOf(ada, 100, 20), shadow]));
      ok(answer.kind === "held");
      deepStrictEqual(answer.shadowed, [{ claim: 1, limit: 10, settled: 0, held: 0, want: 20, floor: 20 }]);
      await shows(ledger, money, { held: 20 });
      const shortages = await refused(ledger, [shadow, claimOf(ada, 30, 20)]);
      deepStrictEqual(
        shortages.map(({ claim }) => claim),
        [1],
      );
      await shows(ledger, money, { held: 20 });
    },
  },
  {
    name: "an infinite limit meters and never refuses; one that is not a number refuses",
    async run({ create }) {
      const ledger = await create();
      await hold(ledger, [claimOf(money, Infinity, 9e15)]);
      await shows(ledger, money, { held: 9e15 });
      const taking = { take: "largest", floor: 0, want: 5 } as const;
      await refused(ledger, [claimOf(ada, NaN, 1)], taking);
      await refused(ledger, [claimOf(ada, 100, NaN, { perToken: 1 })], taking);
      await shows(ledger, ada, {});
    },
  },
  {
    name: "a reserve that starts after nobody waits for it holds nothing",
    async run({ create, clock }) {
      const ledger = await create();
      const claims = [claimOf(money, 100, 10), claimOf(calls, 5)];
      const late = await ledger.reserve(requestOf(claims, { notAfter: clock.now() - 1 }));
      deepStrictEqual(late, { kind: "late" });
      await hold(ledger, claims, { notAfter: clock.now() });
      await shows(ledger, money, { held: 10 });
      await shows(ledger, calls, { settled: 1 });
    },
  },
  {
    name: "a refused call writes nothing",
    async run({ create, clock }) {
      const ledger = await create();
      const open = await hold(ledger, [claimOf(money, 100, 60), claimOf(calls, 10)]);
      const meters = [money, calls, slots, ada];
      const claims: readonly MeterClaim[] = [
        claimOf(money, 100, 50),
        claimOf(calls, 10),
        claimOf(slots, 1),
        claimOf(ada, 9),
      ];
      for (const _ of [1, 2]) {
        const before = await ledger.read(meters);
        await refused(ledger, claims);
        deepStrictEqual(await ledger.read(meters), before);
        // And once more with a hold whose lease is over, for which a refusal may be the first to look.
        clock.advance(61_000);
        await ledger.read([slots]);
      }
      await ledger.settle(open, bill(60));
      await shows(ledger, money, { settled: 60 });
    },
  },
  {
    name: "check says what a reserve would lack, and holds nothing",
    async run({ create }) {
      const ledger = await create();
      await hold(ledger, [claimOf(money, 100, 60)]);
      const claims = [claimOf(ada, 100, 50), claimOf(money, 100, 50), claimOf(slots, 0, 1, { shadow: true })];
      const checked = await ledger.check(claims, { floor: 1, want: 1 });
      deepStrictEqual(
        checked.map(({ claim }) => claim),
        [1, 2],
      );
      deepStrictEqual(await refused(ledger, claims), [checked[0]]);
      deepStrictEqual(await ledger.check([claimOf(ada, 100, 100)], { floor: 1, want: 1 }), []);
      await shows(ledger, ada, {});
      await shows(ledger, money, { held: 60 });
    },
  },
];
