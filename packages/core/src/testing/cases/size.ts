import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { MeterClaim } from "../../ledger/ledger.js";
import { bill, claimOf, hold, meterOf, month, refused, requestOf, shows } from "../drive.js";
import type { LedgerCase } from "../ledger-case.js";

const money = meterOf("workspace", "usd", month);
const ada = meterOf("label:user_id:ada", "usd", month);

const amountOf = ({ fixed, perToken, scale }: MeterClaim, n: number) => Math.ceil((fixed + perToken * n) / scale);

export const sizeCases: readonly LedgerCase[] = [
  {
    name: "a call that takes `want` or nothing gets `want` or nothing",
    async run({ create }) {
      const ledger = await create();
      const claim = claimOf(money, 100, 0, { perToken: 1 });
      const [shortage] = await refused(ledger, [claim], { floor: 10, want: 101 });
      deepStrictEqual(shortage, { claim: 0, limit: 100, settled: 0, held: 0, want: 101, floor: 10 });
      const answer = await ledger.reserve(requestOf([claim], { floor: 10, want: 100 }));
      ok(answer.kind === "held");
      strictEqual(answer.n, 100);
      await shows(ledger, money, { held: 100 });
    },
  },
  {
    name: "a call that takes the largest gets the largest n that fits, at most `want`",
    async run({ create }) {
      const sizes = [
        [0, 1_000, 1_000],
        [1_500, 7, 1_000],
        [999, 333, 1_000],
        [123_456_789, 150_001, 1_000],
        [0, 2_500, 1_000],
        [3, 2, 1],
      ] as const;
      for (const [fixed, perToken, scale] of sizes) {
        for (const limit of [200_001, 150_001, 124_000, 131, 7]) {
          const ledger = await create();
          const claim = claimOf(money, limit, fixed, { perToken, scale });
          const fits = (n: number) => amountOf(claim, n) <= limit;
          let best = -1;
          while (best < 300 && fits(best + 1)) best++;
          const answer = await ledger.reserve(requestOf([claim], { floor: 1, want: 300, take: "largest" }));
          if (best < 1) {
            strictEqual(answer.kind, "short");
            continue;
          }
          ok(answer.kind === "held", `limit ${limit}, fixed ${fixed}, perToken ${perToken}: ${answer.kind}`);
          strictEqual(answer.n, best, `limit ${limit}, fixed ${fixed}, perToken ${perToken}`);
          deepStrictEqual(answer.hold.amounts, [amountOf(claim, best)]);
          await shows(ledger, money, { held: amountOf(claim, best) });
        }
      }
    },
  },
  {
    name: "the tightest of several claims decides the largest n, and every claim is held at that n",
    async run({ create }) {
      const ledger = await create();
      const tokens = meterOf("workspace", "tokens", month);
      const claims = [
        claimOf(money, 1_000, 1_500, { perToken: 10_000, scale: 1_000 }),
        claimOf(tokens, 80, 5, { perToken: 1 }),
        claimOf(ada, 700, 1_500, { perToken: 10_000, scale: 1_000 }),
      ];
      const answer = await ledger.reserve(requestOf(claims, { floor: 10, want: 500, take: "largest" }));
      ok(answer.kind === "held");
      strictEqual(answer.n, 69);
      deepStrictEqual(answer.hold.amounts, [692, 74, 692]);
      await shows(ledger, tokens, { held: 74 });
    },
  },
  {
    name: "a call whose floor has no room is refused, and only the claims without that room are named",
    async run({ create }) {
      const ledger = await create();
      const claims = [claimOf(money, 50, 0, { perToken: 1 }), claimOf(ada, 9, 0, { perToken: 1 })];
      const sized = { floor: 10, want: 100, take: "largest" } as const;
      deepStrictEqual(await refused(ledger, claims, sized), [
        { claim: 1, limit: 9, settled: 0, held: 0, want: 100, floor: 10 },
      ]);
      await shows(ledger, money, {});
    },
  },
  {
    name: "the largest n counts what is settled and held, and n = 0 is an answer",
    async run({ create }) {
      const ledger = await create();
      const claim = claimOf(money, 100, 10, { perToken: 1 });
      const first = await hold(ledger, [claim], { floor: 0, want: 50 });
      await ledger.settle(first, bill(20));
      await hold(ledger, [claim], { floor: 0, want: 15 });
      const sized = { floor: 0, want: 1_000, take: "largest" } as const;
      const third = await ledger.reserve(requestOf([claim], sized));
      ok(third.kind === "held");
      strictEqual(third.n, 45);
      await ledger.release(third.hold);
      await hold(ledger, [claimOf(money, 100, 45)]);
      const last = await ledger.reserve(requestOf([claim], sized));
      ok(last.kind === "held");
      strictEqual(last.n, 0);
      await refused(ledger, [claim], sized);
    },
  },
  {
    name: "an amount is rounded up once",
    async run({ create }) {
      const ledger = await create();
      const first = await hold(ledger, [claimOf(money, 100, 1, { perToken: 333, scale: 1_000 })], {
        floor: 0,
        want: 3,
      });
      deepStrictEqual(first.amounts, [1]);
      await refused(ledger, [claimOf(money, 1, 1, { scale: 1_000 })]);
      await hold(ledger, [claimOf(money, 1, 0, { scale: 1_000 })]);
    },
  },
  {
    name: "amounts up to $9 M stay exact to the nano-dollar",
    async run({ create }) {
      const ledger = await create();
      const limit = 9_000_000_000_000_000;
      const first = await hold(ledger, [claimOf(money, limit, limit - 1)]);
      await refused(ledger, [claimOf(money, limit, 2)]);
      await hold(ledger, [claimOf(money, limit, 1)]);
      await ledger.settle(first, bill(limit - 1));
      await shows(ledger, money, { settled: limit - 1, held: 1 });
    },
  },
];
