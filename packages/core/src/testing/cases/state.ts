import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { bill, claimOf, day, hold, lifetime, meterOf, minute, refused, requestOf, shows } from "../drive.js";
import type { LedgerBench, LedgerCase } from "../ledger-case.js";

const account = "label:mission:1";
const spent = meterOf(account, "usd", lifetime);
const today = meterOf(account, "usd", day);

export const stateCases: readonly LedgerCase[] = [
  {
    name: "an account's state is merged, and its version counts the changes",
    async run({ create }) {
      const ledger = await create();
      deepStrictEqual(await ledger.amend(account, {}), {
        applied: false,
        state: { version: 0, limitDelta: 0, notes: {} },
      });
      await ledger.amend(account, { status: "frozen", by: "ops", reason: "alarm", notes: { a: "1", b: "2" } });
      const second = await ledger.amend(account, { addLimit: 500, notes: { a: null, c: "3" } });
      const state = {
        version: 2,
        status: "frozen",
        limitDelta: 500,
        by: "ops",
        reason: "alarm",
        notes: { b: "2", c: "3" },
      };
      deepStrictEqual(second, { applied: true, state });
      deepStrictEqual(await ledger.amend(account, {}), { applied: false, state });
      const third = await ledger.amend(account, { status: "active", addLimit: -200 });
      deepStrictEqual(third.state, { ...state, version: 3, status: "active", limitDelta: 300 });
    },
  },
  {
    name: "a change with a once-id is made once, also when it is asked for in parallel",
    async run({ create }) {
      const ledger = await create();
      const changes = await Promise.all(
        Array.from({ length: 5 }, async () => ledger.amend(account, { addLimit: 100 }, "approval-7")),
      );
      strictEqual(changes.filter(({ applied }) => applied).length, 1);
      strictEqual((await ledger.amend(account, { addLimit: 100 }, "approval-8")).applied, true);
      const { applied, state } = await ledger.amend(account, { addLimit: 100 }, "approval-7");
      strictEqual(applied, false);
      strictEqual(state.limitDelta, 200);
      strictEqual(state.version, 2);
    },
  },
  {
    name: "a stored limit is the account's own, from its last change on",
    async run({ create }) {
      const ledger = await create();
      const claims = [claimOf(spent, "stored", 40)];
      strictEqual((await refused(ledger, claims))[0]?.limit, 0);
      await ledger.amend(account, { addLimit: 100 });
      await hold(ledger, claims);
      await hold(ledger, claims);
      const [shortage] = await refused(ledger, claims);
      deepStrictEqual(shortage, { claim: 0, limit: 100, settled: 0, held: 80, want: 40, floor: 40 });
      await ledger.amend(account, { addLimit: 20 });
      await hold(ledger, claims);
      await ledger.amend(account, { addLimit: -50 });
      await refused(ledger, [claimOf(spent, "stored", 0)]);
    },
  },
  {
    name: "a caller who decided by an older state is told the newer one, and nothing is held",
    async run({ create }) {
      const ledger = await create();
      const claims = [claimOf(spent, 100, 10)];
      await hold(ledger, claims, { seen: [{ account, version: 0 }] });
      const { state } = await ledger.amend(account, { status: "killed" });
      const stale = await ledger.reserve(requestOf(claims, { seen: [{ account, version: 0 }] }));
      deepStrictEqual(stale, { kind: "stale", states: [{ account, state }] });
      await shows(ledger, spent, { held: 10 });
      await hold(ledger, claims, { seen: [{ account, version: 1 }] });
      const never = { account: "label:mission:2", version: 3 };
      strictEqual((await ledger.reserve(requestOf(claims, { seen: [never] }))).kind, "stale");
    },
  },
  {
    name: "a caller who decided by several states is told every one that is newer, in order",
    async run({ create }) {
      const ledger = await create();
      const [root, child] = ["label:mission:root", "label:mission:child"];
      const claims = [claimOf(spent, 100, 10)];
      const known = (...versions: number[]) => ({
        seen: [root, account, child].map((name, i) => ({ account: name, version: versions[i]! })),
      });
      await hold(ledger, claims, known(0, 0, 0));
      const killed = await ledger.amend(root, { status: "killed" });
      const raised = await ledger.amend(child, { addLimit: 5 });
      const both = [
        { account: root, state: killed.state },
        { account: child, state: raised.state },
      ];
      deepStrictEqual(await ledger.reserve(requestOf(claims, known(0, 0, 0))), { kind: "stale", states: both });
      deepStrictEqual(await ledger.reserve(requestOf(claims, known(1, 0, 0))), { kind: "stale", states: [both[1]] });
      await shows(ledger, spent, { held: 10 });
      await hold(ledger, claims, known(1, 0, 1));
      await hold(ledger, claims, { seen: [] });
      // Whoever is late learns nothing, and holds nothing.
      const late = await ledger.reserve(requestOf(claims, { ...known(0, 0, 0), notAfter: -1 }));
      strictEqual(late.kind, "late");
    },
  },
  {
    name: "an amended account is kept, whatever happens to its money",
    async run({ create, clock }) {
      const ledger = await create();
      await hold(ledger, [claimOf(today, 100, 10)]);
      await ledger.amend(account, { addLimit: 5 }, "once");
      clock.advance(400 * 86_400_000);
      for (let other = 0; other < 200; other++) await hold(ledger, [claimOf({ ...today, account: `a${other}` }, 100)]);
      strictEqual((await ledger.amend(account, { addLimit: 5 }, "once")).applied, false);
      strictEqual((await ledger.amend(account, {})).state.limitDelta, 5);
    },
  },
  {
    name: "beyond maxAccounts a new account is refused, and no known one",
    async run({ create }) {
      const ledger = await create();
      const claimsOf = (...names: string[]) => names.map((name) => claimOf(meterOf(name, "usd", day), 100, 10));
      const most = { maxAccounts: 3 };
      await hold(ledger, claimsOf("a", "b"), most);
      deepStrictEqual(await ledger.reserve(requestOf(claimsOf("a", "c", "d"), most)), { kind: "full" });
      await refused(ledger, [claimOf(meterOf("e", "usd", day), 0)], most);
      await shows(ledger, meterOf("c", "usd", day), {});
      await hold(ledger, claimsOf("b", "c"), most);
      deepStrictEqual(await ledger.reserve(requestOf(claimsOf("d"), most)), { kind: "full" });
      await hold(ledger, claimsOf("a", "b", "c"), most);
      await hold(ledger, claimsOf("a"), { maxAccounts: 1 });
      await hold(ledger, claimsOf("d"));
    },
  },
  {
    name: "accounts in which nothing counts any more make room for new ones",
    async run({ create, clock }) {
      const ledger = await create();
      const most = { maxAccounts: 20 };
      for (let user = 0; user < 20; user++) {
        const open = await hold(ledger, [claimOf(meterOf(`old${user}`, "usd", minute), 100, 10)], most);
        await ledger.settle(open, bill(10));
      }
      clock.advance(3 * 86_400_000);
      for (let user = 0; user < 20; user++) {
        await hold(ledger, [claimOf(meterOf(`new${user}`, "in-flight", lifetime), 5)], most);
      }
      const another = [claimOf(meterOf("another", "usd", minute), 100, 10)];
      deepStrictEqual(await ledger.reserve(requestOf(another, most)), { kind: "full" });
      clock.advance(3 * 86_400_000);
      await hold(ledger, another, most);
    },
  },
  {
    name: "parallel calls of new accounts count against maxAccounts, and an account used again is still one",
    async run({ create, clock }) {
      const ledger = await create();
      const most = { maxAccounts: 3 };
      const claims = (name: string) => [claimOf(meterOf(name, "usd", day), 1_000, 1)];
      const names = ["a", "b", "c", "d", "e"];
      const answers = await Promise.all(names.map(async (name) => ledger.reserve(requestOf(claims(name), most))));
      strictEqual(answers.filter(({ kind }) => kind === "held").length, 3);
      strictEqual(answers.filter(({ kind }) => kind === "full").length, 2);
      for (let round = 0; round < 10; round++) {
        clock.advance(86_400_000 / 3);
        for (const name of ["x", "y", "z"]) await hold(ledger, claims(name), { maxAccounts: 6 });
      }
      deepStrictEqual(await ledger.reserve(requestOf(claims("new"), { maxAccounts: 6 })), { kind: "full" });
      await hold(ledger, claims("new"), { maxAccounts: 7 });
    },
  },
  {
    name: "an account is kept as long as anything of it counts",
    async run({ create, clock }) {
      const ledger = await create();
      const speed = meterOf("slow", "usd", minute);
      const lease = { ms: 1, onExpiry: "charge" } as const;
      await ledger.settle(await hold(ledger, [claimOf(speed, 100, 10)], { lease }), bill(10));
      for (let other = 0; other < 100; other++) {
        clock.advance(500);
        await hold(ledger, [claimOf({ ...speed, account: `o${other}` }, 100)]);
        await shows(ledger, speed, { settled: 10 });
      }
    },
  },
  ...(["lease", "renewal"] as const).map((kept) => ({
    name: `an account is kept by an open hold's ${kept}, and until its charge has passed its window`,
    async run({ create, clock }: LedgerBench) {
      const ledger = await create();
      const speed = meterOf("slow", "usd", { kind: "sliding", ms: 1_000 });
      const ms = 3 * 86_400_000;
      const lease = { ms: kept === "lease" ? ms : 60_000, onExpiry: "charge" } as const;
      const open = await hold(ledger, [claimOf(speed, 100, 10)], { lease });
      if (kept === "renewal") await ledger.renew([open], ms);
      for (let round = 0; round < 3; round++) {
        clock.advance(86_400_000 - 1_000);
        for (let other = 0; other < 100; other++)
          await hold(ledger, [claimOf({ ...speed, account: `o${other}` }, 100)]);
        await shows(ledger, speed, { held: 10 });
      }
      clock.advance(3_000);
      await shows(ledger, speed, { settled: 10 });
    },
  })),
  {
    name: "many accounts are kept apart",
    async run({ create }) {
      const ledger = await create();
      const names = Array.from({ length: 150 }, (_, i) => `label:user_id:${i % 2 ? "u" : "U"}${i >> 1}`);
      const holds = await Promise.all(
        names.map((name, i) => hold(ledger, [claimOf(meterOf(name, "usd", day), 1_000, i)])),
      );
      await Promise.all(holds.map(async (each, i) => ledger.settle(each, bill(i * 2))));
      const readings = await ledger.read(names.map((name) => meterOf(name, "usd", day)));
      ok(readings.every(({ settled, held }, i) => settled === i * 2 && held === 0));
    },
  },
  {
    name: "meters nobody used show nothing, and reading them makes no account",
    async run({ create }) {
      const ledger = await create();
      const meters = [spent, today, meterOf("x", "calls", minute), meterOf("y", "in-flight", lifetime)];
      deepStrictEqual(await ledger.read(meters), Array(4).fill({ settled: 0, held: 0 }));
      await hold(ledger, [claimOf(spent, 10)], { maxAccounts: 1 });
      deepStrictEqual(await ledger.read([]), []);
    },
  },
  {
    name: "closes answer the meters asked for, in order, as they are afterwards",
    async run({ create }) {
      const ledger = await create();
      const other = meterOf("workspace", "usd", day);
      const open = await hold(ledger, [claimOf(today, 100, 10)]);
      const settled = await ledger.settle(open, bill(7), [other, today, spent]);
      deepStrictEqual(
        settled.readings,
        [0, 7, 0].map((amount) => ({ settled: amount, held: 0 })),
      );
      const released = await ledger.release(await hold(ledger, [claimOf(today, 100, 10)]), [today]);
      deepStrictEqual(released, { outcome: "released", readings: [{ settled: 7, held: 0 }] });
      deepStrictEqual((await ledger.settle(open, bill(9), [today])).readings, [{ settled: 7, held: 0 }]);
      deepStrictEqual((await ledger.settle(await hold(ledger, [claimOf(today, 100)]), bill(1))).readings, []);
    },
  },
  {
    name: "lifetime money knows the moving average of known bills, and their variance",
    async run({ create }) {
      const ledger = await create();
      let mean = 0;
      let variance = 0;
      let count = 0;
      for (const [usd, known] of [
        [100, true],
        [200, true],
        [900, false],
        [50, true],
        [0, true],
      ] as const) {
        await ledger.settle(await hold(ledger, [claimOf(spent, 9_000, 10)]), { usd, tokens: 5, known });
        if (!known) continue;
        const off = count === 0 ? 0 : usd - mean;
        mean = count === 0 ? usd : mean + 0.3 * off;
        variance = 0.7 * (variance + 0.3 * off * off);
        count++;
      }
      const [reading, daily] = await ledger.read([spent, today]);
      deepStrictEqual(
        { ...reading, mean: 0, variance: 0 },
        { settled: 1_250, held: 0, count: 4, mean: 0, variance: 0 },
      );
      ok(Math.abs(reading!.mean! - mean) < 1e-6 && Math.abs(reading!.variance! - variance) < 1e-3);
      deepStrictEqual(daily, { settled: 0, held: 0 });
      await ledger.release(await hold(ledger, [claimOf(spent, 9_000, 10)]));
      strictEqual((await ledger.read([spent]))[0]?.count, 4);
    },
  },
];
