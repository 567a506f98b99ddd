import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { Hold, Ledger, MeterClaim, ReserveRequest } from "../../ledger/ledger.js";
import { bill, claimOf, hold, lifetime, meterOf, minute, month, refused, requestOf, shows } from "../drive.js";
import type { LedgerCase } from "../ledger-case.js";

const root = meterOf("label:mission:root", "usd", lifetime);
const child = meterOf("label:mission:child", "usd", lifetime);
const tokens = meterOf("label:mission:root", "tokens", lifetime);
const slots = meterOf("label:mission:root", "in-flight", lifetime);
const calls = meterOf("label:mission:root", "calls", minute);
const releasing = { ms: 60_000, onExpiry: "release" } as const;
/** Leases end by the second. */
const OVER_MS = 61_000;

/** Sets `amount` aside on the root, whose limit is 100. */
function sliceOf(ledger: Ledger, amount: number, more: Partial<ReserveRequest> = {}): Promise<Hold> {
  return hold(ledger, [claimOf(root, 100, amount)], { lease: releasing, ...more });
}

/** What a call of the child claims: its own account, and the root's under a limit of 100. */
function call(amount: number): readonly MeterClaim[] {
  return [claimOf(child, 100, amount), claimOf(root, 100, amount)];
}

export const sliceCases: readonly LedgerCase[] = [
  {
    name: "a call that draws from a slice fits into what the slice holds, and only such a call",
    async run({ create }) {
      const ledger = await create();
      const slice = await sliceOf(ledger, 40);
      await hold(ledger, [claimOf(root, 100, 60)]);
      await refused(ledger, call(1));
      const first = await hold(ledger, call(30), { drawFrom: slice });
      deepStrictEqual(first.drawn, { hold: slice.id, at: [-1, 0], amounts: [0, 30] });
      await shows(ledger, root, { held: 100 });
      await shows(ledger, child, { held: 30 });
      deepStrictEqual(await refused(ledger, call(11), { drawFrom: slice }), [
        { claim: 1, limit: 100, settled: 0, held: 90, want: 11, floor: 11 },
      ]);
      await hold(ledger, call(10), { drawFrom: slice });
      await refused(ledger, call(1), { drawFrom: slice });
      await shows(ledger, root, { held: 100 });
    },
  },
  {
    name: "a call takes the slice's money first, and what is free beyond it",
    async run({ create }) {
      const ledger = await create();
      const slice = await sliceOf(ledger, 40);
      await hold(ledger, [claimOf(root, 100, 30)]);
      const open = await hold(ledger, call(60), { drawFrom: slice });
      deepStrictEqual(open.drawn?.amounts, [0, 40]);
      await shows(ledger, root, { held: 90 });
      const next = await hold(ledger, call(10), { drawFrom: slice });
      strictEqual(next.drawn, undefined);
      await shows(ledger, root, { held: 100 });
      // The bill is more than came from the slice: nothing goes back there.
      await ledger.settle(open, bill(50));
      await shows(ledger, root, { settled: 50, held: 40 });
      await ledger.release(slice);
      await shows(ledger, root, { settled: 50, held: 40 });
    },
  },
  {
    name: "what a call did not use returns to the slice, once",
    async run({ create }) {
      const ledger = await create();
      const slice = await sliceOf(ledger, 40);
      const first = await hold(ledger, call(30), { drawFrom: slice });
      const second = await hold(ledger, call(10), { drawFrom: slice });
      strictEqual((await ledger.settle(first, bill(12))).outcome, "settled");
      await shows(ledger, root, { settled: 12, held: 28 });
      await shows(ledger, child, { settled: 12, held: 10 });
      strictEqual((await ledger.settle(first, bill(12))).outcome, "duplicate");
      await ledger.release(second);
      await ledger.release(second);
      await shows(ledger, root, { settled: 12, held: 28 });
      await hold(ledger, [claimOf(root, 100, 60)]);
      await refused(ledger, call(29), { drawFrom: slice });
      await hold(ledger, call(28), { drawFrom: slice });
    },
  },
  {
    name: "a slice that is released gives back what is left in it, and what its calls return later is free",
    async run({ create }) {
      const ledger = await create();
      const slice = await sliceOf(ledger, 40);
      const open = await hold(ledger, call(30), { drawFrom: slice });
      strictEqual((await ledger.release(slice)).outcome, "released");
      await shows(ledger, root, { held: 30 });
      strictEqual((await ledger.release(slice)).outcome, "duplicate");
      await ledger.settle(open, bill(12));
      await shows(ledger, root, { settled: 12 });
      await hold(ledger, [claimOf(root, 100, 88)]);
    },
  },
  {
    name: "a slice that is unknown, closed, over or of another life helps nothing, and harms nothing",
    async run({ create, clock }) {
      const ledger = await create();
      await hold(ledger, [claimOf(root, 100, 50)], { lease: { ms: 600_000, onExpiry: "release" } });
      const slice = await sliceOf(ledger, 50);
      const unknown = { ...slice, id: "never made" };
      const foreign = { ...slice, epoch: "another life" };
      for (const drawFrom of [unknown, foreign, { ...slice, epoch: "" }]) await refused(ledger, call(10), { drawFrom });
      const closed = await hold(ledger, [claimOf(child, 100, 20)]);
      await ledger.release(closed);
      await refused(ledger, call(10), { drawFrom: closed });
      clock.advance(OVER_MS);
      const free = await hold(ledger, call(10), { drawFrom: slice });
      strictEqual(free.drawn, undefined);
      await refused(ledger, call(41), { drawFrom: slice });
      await shows(ledger, root, { held: 60 });
    },
  },
  {
    name: "nothing returns to a slice whose lease is over, nor from a call whose lease is",
    async run({ create, clock }) {
      const ledger = await create();
      const charging = { ms: 60_000, onExpiry: "charge" } as const;
      const slice = await sliceOf(ledger, 40);
      const long = await hold(ledger, call(15), { drawFrom: slice, lease: { ms: 600_000, onExpiry: "charge" } });
      const short = await hold(ledger, call(10), { drawFrom: slice, lease: { ms: 1_000, onExpiry: "charge" } });
      clock.advance(3_000);
      await shows(ledger, root, { settled: 10, held: 30 });
      strictEqual((await ledger.settle(short, bill(4))).outcome, "corrected");
      await shows(ledger, root, { settled: 4, held: 30 });
      clock.advance(OVER_MS);
      await shows(ledger, root, { settled: 4, held: 15 });
      await ledger.settle(long, bill(5));
      await shows(ledger, root, { settled: 9 });
      // One that charges: what is left in it is spent when it ends.
      const another = await sliceOf(ledger, 40, { lease: charging });
      await ledger.settle(await hold(ledger, call(30), { drawFrom: another }), bill(20));
      clock.advance(OVER_MS);
      await shows(ledger, root, { settled: 49 });
    },
  },
  {
    name: "a renewed slice and a renewed call keep what each holds",
    async run({ create, clock }) {
      const ledger = await create();
      const slice = await sliceOf(ledger, 40);
      const open = await hold(ledger, call(30), { drawFrom: slice, lease: releasing });
      clock.advance(50_000);
      deepStrictEqual(await ledger.renew([slice, open], 60_000), [true, true]);
      clock.advance(50_000);
      await shows(ledger, root, { held: 40 });
      await ledger.settle(open, bill(10));
      await shows(ledger, root, { settled: 10, held: 30 });
      await hold(ledger, [claimOf(root, 100, 60)]);
      await hold(ledger, call(30), { drawFrom: slice });
    },
  },
  {
    name: "a slice of a slice takes its money there, and gives back there what its calls left",
    async run({ create }) {
      const ledger = await create();
      const outer = await sliceOf(ledger, 60);
      await hold(ledger, [claimOf(root, 100, 40)]);
      const inner = await hold(ledger, [claimOf(root, 100, 50)], { lease: releasing, drawFrom: outer });
      await refused(ledger, call(11), { drawFrom: outer });
      const open = await hold(ledger, call(30), { drawFrom: inner });
      await ledger.settle(open, bill(20));
      await shows(ledger, root, { settled: 20, held: 80 });
      await ledger.release(inner);
      // 50 came from the outer one, 20 of them are spent.
      await shows(ledger, root, { settled: 20, held: 80 });
      await refused(ledger, call(41), { drawFrom: outer });
      await hold(ledger, call(40), { drawFrom: outer });
    },
  },
  {
    name: "only money and tokens are drawn, each series by itself and once for several claims on it",
    async run({ create }) {
      const ledger = await create();
      const own = [claimOf(root, 100, 40), claimOf(tokens, 1_000, 500), claimOf(slots, 5), claimOf(calls, 5)];
      const slice = await hold(ledger, own, { lease: releasing });
      const both = [claimOf(root, 100, 30), claimOf(tokens, 1_000, 700), claimOf(slots, 5), claimOf(calls, 5)];
      const open = await hold(ledger, [...both, claimOf(root, 40, 30)], { drawFrom: slice });
      deepStrictEqual(open.drawn, { hold: slice.id, at: [0, 1, -1, -1], amounts: [30, 500, 0, 0] });
      await shows(ledger, root, { held: 40 });
      await shows(ledger, tokens, { held: 700 });
      await shows(ledger, slots, { held: 2 });
      await shows(ledger, calls, { settled: 2 });
      await ledger.settle(open, bill(30, 100));
      await shows(ledger, root, { settled: 30, held: 10 });
      await shows(ledger, tokens, { settled: 100, held: 400 });
      const month40 = { ...root, window: month, series: meterOf(root.account, "usd", month).series };
      strictEqual((await hold(ledger, [claimOf(month40, 100, 5)], { drawFrom: slice })).drawn, undefined);
    },
  },
  {
    name: "a slice counts in the size of a call, in a dry run, and never against what is settled",
    async run({ create }) {
      const ledger = await create();
      const slice = await sliceOf(ledger, 40);
      const open = await hold(ledger, [claimOf(root, 100, 50)]);
      const sized = [claimOf(root, 100, 0, { perToken: 1 })];
      const range = { floor: 10, want: 80 };
      const answer = await ledger.reserve(requestOf(sized, { ...range, take: "largest", drawFrom: slice }));
      ok(answer.kind === "held");
      strictEqual(answer.n, 50);
      await ledger.release(answer.hold);
      deepStrictEqual(await ledger.check(sized, { floor: 50, want: 50 }, slice), []);
      strictEqual((await ledger.check(sized, { floor: 50, want: 50 })).length, 1);
      await ledger.settle(open, bill(100));
      await refused(ledger, call(10), { drawFrom: slice });
      await shows(ledger, root, { settled: 100, held: 40 });
    },
  },
  {
    name: "of parallel calls exactly those that fit draw from a slice, and siblings cannot starve it",
    async run({ create }) {
      const ledger = await create();
      const slice = await sliceOf(ledger, 40);
      const answers = await Promise.all([
        ...Array.from({ length: 20 }, async () => ledger.reserve(requestOf([claimOf(root, 100, 10)]))),
        ...Array.from({ length: 20 }, async () => ledger.reserve(requestOf(call(10), { drawFrom: slice }))),
      ]);
      const held = (from: number) => answers.slice(from, from + 20).filter(({ kind }) => kind === "held").length;
      strictEqual(held(0) + held(20), 10);
      ok(held(20) >= 4, `${held(20)} calls drew from the slice`);
      await shows(ledger, root, { held: 100 });
    },
  },
];
