import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { bill, claimOf, hold, lifetime, meterOf, minute, month, refused, requestOf, shows } from "../drive.js";
import type { LedgerCase } from "../ledger-case.js";

const money = meterOf("workspace", "usd", month);
const tokens = meterOf("workspace", "tokens", month);
const calls = meterOf("workspace", "calls", minute);
const slots = meterOf("workspace", "in-flight", lifetime);
const claims = [claimOf(money, 1_000, 100), claimOf(tokens, 1_000, 50), claimOf(calls, 10), claimOf(slots, 2)];

export const closeCases: readonly LedgerCase[] = [
  {
    name: "settle puts what was used in the place of what was held",
    async run({ create }) {
      const ledger = await create();
      const open = await hold(ledger, claims);
      await shows(ledger, money, { held: 100 });
      await shows(ledger, tokens, { held: 50 });
      await shows(ledger, slots, { held: 1 });
      strictEqual((await ledger.settle(open, bill(70, 20))).outcome, "settled");
      await shows(ledger, money, { settled: 70 });
      await shows(ledger, tokens, { settled: 20 });
      await shows(ledger, calls, { settled: 1 });
      await shows(ledger, slots, {});
    },
  },
  {
    name: "a bill above the hold and above the limit is recorded, and then blocks",
    async run({ create }) {
      const ledger = await create();
      const open = await hold(ledger, [claimOf(money, 120, 100)]);
      await ledger.settle(open, bill(150));
      await shows(ledger, money, { settled: 150 });
      const [shortage] = await refused(ledger, [claimOf(money, 120, 0)]);
      strictEqual(shortage?.settled, 150);
      await hold(ledger, [claimOf(money, 151, 1)]);
    },
  },
  {
    name: "a second settle changes nothing, and a release after a settle changes nothing",
    async run({ create }) {
      const ledger = await create();
      const open = await hold(ledger, claims);
      await ledger.settle(open, bill(70, 20));
      strictEqual((await ledger.settle(open, bill(90, 90))).outcome, "duplicate");
      strictEqual((await ledger.release(open)).outcome, "duplicate");
      strictEqual((await ledger.settle(open, bill(70, 20))).outcome, "duplicate");
      await shows(ledger, money, { settled: 70 });
      await shows(ledger, tokens, { settled: 20 });
      await shows(ledger, calls, { settled: 1 });
      await shows(ledger, slots, {});
    },
  },
  {
    name: "parallel closes of one hold count once",
    async run({ create }) {
      const ledger = await create();
      const open = await hold(ledger, claims);
      const closes = await Promise.all(Array.from({ length: 8 }, async () => ledger.settle(open, bill(70, 20))));
      deepStrictEqual(closes.map(({ outcome }) => outcome).sort(), ["settled", ...Array(7).fill("duplicate")].sort());
      await shows(ledger, money, { settled: 70 });
      await shows(ledger, slots, {});
    },
  },
  {
    name: "release returns money, tokens and the slot; the call stays counted",
    async run({ create }) {
      const ledger = await create();
      const open = await hold(ledger, claims);
      strictEqual((await ledger.release(open)).outcome, "released");
      strictEqual((await ledger.release(open)).outcome, "duplicate");
      for (const meter of [money, tokens, slots]) await shows(ledger, meter, {});
      await shows(ledger, calls, { settled: 1 });
    },
  },
  {
    name: "a settle after a release charges what was used, once",
    async run({ create }) {
      const ledger = await create();
      const open = await hold(ledger, claims);
      await ledger.release(open);
      strictEqual((await ledger.settle(open, bill(70, 20))).outcome, "corrected");
      strictEqual((await ledger.settle(open, bill(70, 20))).outcome, "duplicate");
      strictEqual((await ledger.release(open)).outcome, "duplicate");
      await shows(ledger, money, { settled: 70 });
      await shows(ledger, tokens, { settled: 20 });
      await shows(ledger, calls, { settled: 1 });
      await shows(ledger, slots, {});
    },
  },
  {
    name: "an id released before its reserve arrives holds nothing any more",
    async run({ create, clock }) {
      const ledger = await create();
      const request = requestOf(claims);
      const unsure = {
        id: request.id,
        epoch: "",
        meters: claims.map(({ meter }) => meter),
        amounts: [100, 50, 1, 1],
        expiresAt: clock.now() + 60_000,
        onExpiry: "charge",
      } as const;
      strictEqual((await ledger.release(unsure)).outcome, "released");
      clock.advance(30_000);
      deepStrictEqual(await ledger.reserve(request), { kind: "duplicate" });
      for (const { meter } of claims) await shows(ledger, meter, {});
      await hold(ledger, claims);
    },
  },
  {
    name: "a release of an id that did arrive returns its hold",
    async run({ create }) {
      const ledger = await create();
      const open = await hold(ledger, claims);
      strictEqual((await ledger.release({ ...open, epoch: "" })).outcome, "released");
      await shows(ledger, money, {});
      await shows(ledger, slots, {});
    },
  },
  {
    name: "a reserve whose answer was lost is given back by its own caller, and ends no other call of that id",
    async run({ create }) {
      const ledger = await create();
      const request = requestOf(claims, { named: true, attempt: "first" });
      const answer = await ledger.reserve(request);
      ok(answer.kind === "held");
      const unsure = { ...answer.hold, epoch: "", attempt: "first" };
      strictEqual((await ledger.release({ ...unsure, attempt: "second" })).outcome, "duplicate");
      await shows(ledger, money, { held: 100 });
      await ledger.renew([answer.hold], 60_000);
      strictEqual((await ledger.release({ ...unsure, attempt: "second" })).outcome, "duplicate");
      strictEqual((await ledger.release(unsure)).outcome, "released");
      await shows(ledger, money, {});
      await shows(ledger, slots, {});
    },
  },
  {
    name: "money of a hold the ledger never saw is counted once, and its call too",
    async run({ create, clock }) {
      const ledger = await create();
      const { epoch: _, ...made } = await hold(await create(), claims);
      const unseen = { ...made, epoch: "", expiresAt: clock.now() + 60_000 };
      strictEqual((await ledger.settle(unseen, bill(70, 20))).outcome, "orphan");
      clock.advance(1_000);
      strictEqual((await ledger.settle(unseen, bill(70, 20))).outcome, "duplicate");
      await shows(ledger, money, { settled: 70 });
      await shows(ledger, tokens, { settled: 20 });
      await shows(ledger, calls, { settled: 1 });
      await shows(ledger, slots, {});
    },
  },
  {
    name: "a hold of another life of the ledger is an orphan and counted once",
    async run({ create }) {
      const former = await create();
      const ledger = await create();
      const open = await hold(former, claims);
      strictEqual((await ledger.settle(open, bill(70, 20))).outcome, "orphan");
      strictEqual((await ledger.settle(open, bill(70, 20))).outcome, "duplicate");
      await shows(ledger, money, { settled: 70 });
      await shows(ledger, slots, {});
      await shows(former, money, { held: 100 });
    },
  },
  {
    name: "a hold is plain data: any process can close it",
    async run({ create }) {
      const ledger = await create();
      const open = JSON.parse(JSON.stringify(await hold(ledger, claims)));
      strictEqual((await ledger.settle(open, bill(70, 20))).outcome, "settled");
      await shows(ledger, money, { settled: 70 });
      const again = JSON.parse(JSON.stringify(await hold(ledger, claims)));
      strictEqual((await ledger.release(again)).outcome, "released");
      await shows(ledger, money, { settled: 70 });
    },
  },
  {
    name: "a named id is used once, also after its close; others are known while they are open",
    async run({ create, clock }) {
      const ledger = await create();
      for (const close of ["settle", "release"] as const) {
        const request = requestOf(claims, { named: true });
        const answer = await ledger.reserve(request);
        ok(answer.kind === "held");
        deepStrictEqual(await ledger.reserve(request), { kind: "duplicate" });
        if (close === "settle") await ledger.settle(answer.hold, bill(0));
        else await ledger.release(answer.hold);
        clock.advance(60_000);
        deepStrictEqual(await ledger.reserve(request), { kind: "duplicate" });
        await shows(ledger, slots, {});
      }
      const request = requestOf(claims);
      await ledger.reserve(request);
      deepStrictEqual(await ledger.reserve(request), { kind: "duplicate" });
      await shows(ledger, slots, { held: 1 });
      const noClaims = requestOf([], { named: true });
      strictEqual((await ledger.reserve(noClaims)).kind, "held");
      deepStrictEqual(await ledger.reserve(noClaims), { kind: "duplicate" });
    },
  },
];
