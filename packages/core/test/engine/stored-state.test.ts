import { describe, expect, it } from "vitest";
import { MemoryLedger, RuleDecision, type AccountState, type Claim, type Context, type Rule } from "../../src/index.js";
import { ManualClock } from "../../src/testing/index.js";
import { bench } from "./kit.js";

const scope = { label: "run", value: "r1" } as const;
const account = "label:run:r1";

/** A rule with a limit and a state of its own in the ledger. */
class StoredRule implements Rule {
  readonly name = "Stored";
  state: AccountState = { version: 0, limitDelta: 0, notes: {} };
  judged = 0;
  learned: number[] = [];
  readonly more: Partial<Claim>;

  constructor(more: Partial<Claim> = {}) {
    this.more = more;
  }

  evaluate(_context: Context): RuleDecision {
    this.judged++;
    if (this.state.status === "stopped") return RuleDecision.block({ reason: "stopped" });
    const { version: seen } = this.state;
    return RuleDecision.claim({
      scope,
      measure: "usd",
      window: { kind: "lifetime" },
      limit: "stored",
      seen,
      ...this.more,
    });
  }
  onStale(_claim: Claim, state: AccountState): void {
    this.learned.push(state.version);
    this.state = state;
  }
}

function books() {
  const clock = new ManualClock();
  return { clock, ledger: new MemoryLedger({ clock }) };
}

const call = { operation: "x", costUsd: 0.4 };

describe("a rule with a stored limit", () => {
  it("learns of a change at the call it matters for, without a read of its own", async () => {
    const { ledger, clock } = books();
    const rule = new StoredRule();
    const { policy } = bench([rule], { store: ledger, clock });
    ledger.amend(account, { addLimit: 1e9 });
    await policy.authorize(call);
    expect([rule.learned, rule.judged]).toEqual([[1], 2]);
    await policy.authorize(call);
    expect([rule.learned, rule.judged]).toEqual([[1], 3]);
    ledger.amend(account, { status: "stopped" });
    await expect(policy.authorize(call)).rejects.toThrow(/stopped/);
    expect(rule.learned).toEqual([1, 2]);
  });

  it("refuses by the limit of the ledger, shows it in usage, and dry runs agree", async () => {
    const { ledger, clock } = books();
    const { policy } = bench([new StoredRule()], { store: ledger, clock, waitMs: 0 });
    ledger.amend(account, { addLimit: 1e9 });
    await (await policy.authorize(call)).settle();
    await policy.authorize(call);
    await expect(policy.authorize(call)).rejects.toThrow(/Stored.*limit 1.*settled 0.4.*held 0.4/);
    expect(await policy.usage()).toMatchObject([{ rule: "Stored", spentUsd: 0.4, heldUsd: 0.4, maxUsd: 1 }]);
    expect(await policy.evaluate(call)).toMatchObject([{ rule: "Stored", allow: false }]);
    ledger.amend(account, { addLimit: 1e9 });
    expect(await policy.evaluate(call)).toMatchObject([{ rule: "Stored", allow: true }]);
    await policy.authorize(call);
  });

  it("that cannot learn, or never does, refuses the call instead of asking for ever", async () => {
    const { ledger, clock } = books();
    ledger.amend(account, { addLimit: 1e9 });
    const deaf = Object.assign(new StoredRule(), { onStale: undefined as never });
    await expect(bench([deaf], { store: ledger, clock }).policy.authorize(call)).rejects.toThrow(/needs onStale/);
    const stubborn = Object.assign(new StoredRule(), { onStale: () => undefined });
    await expect(bench([stubborn], { store: ledger, clock }).policy.authorize(call)).rejects.toThrow(/older state/);
    expect(stubborn.judged).toBeLessThan(20);
    const failing = Object.assign(new StoredRule(), {
      onStale: () => {
        throw new Error("not mine");
      },
    });
    await expect(bench([failing], { store: ledger, clock }).policy.authorize(call)).rejects.toThrow(/Stored.*not mine/);
  });

  it("in shadow decides nothing, so nothing depends on what it knows", async () => {
    const { ledger, clock } = books();
    ledger.amend(account, { addLimit: 1e8 });
    const rule = Object.assign(new StoredRule(), { mode: "shadow" as const, onStale: undefined as never });
    const { policy } = bench([rule], { store: ledger, clock });
    await policy.authorize(call);
    expect(await policy.usage()).toMatchObject([{ heldUsd: 0.4 }]);
  });

  it.each([{ seen: -1 }, { seen: 0.5 }, { drawFrom: "slice" as never }])(
    "whose claim says %j is refused",
    async (more) => {
      const { policy } = bench([new StoredRule(more)]);
      await expect(policy.authorize(call)).rejects.toThrow(/seen|drawFrom/);
    },
  );
});

describe("a slice named by a claim", () => {
  it("lets its call in where others wait for money, and gets back what the call left", async () => {
    const { ledger, clock } = books();
    ledger.amend(account, { addLimit: 1e9 });
    const { policy } = bench([new StoredRule()], { store: ledger, clock });
    const { extension } = policy;
    const meter = extension.meter({ scope, measure: "usd", window: { kind: "lifetime" }, limit: "stored" });
    const lease = { ms: 60_000, onExpiry: "release" } as const;
    const claims = [{ meter, limit: "stored", fixed: 5e8, perToken: 0, scale: 1 } as const];
    const made = ledger.reserve({ id: "slice", claims, floor: 0, want: 0, take: "want", lease });
    if (made.kind !== "held") throw new Error(made.kind);
    await policy.authorize(call);
    const waiting = policy.authorize(call);
    const { policy: own } = bench([new StoredRule({ drawFrom: made.hold })], { store: ledger, clock });
    expect(await own.evaluate(call)).toMatchObject([{ allow: true }]);
    const auth = await own.authorize(call);
    expect(ledger.read([meter])[0]).toMatchObject({ held: 9e8 });
    await auth.settle({ costUsd: 0.1 });
    // 0.4 is left in the slice.
    expect(ledger.read([meter])[0]).toMatchObject({ settled: 1e8, held: 8e8 });
    ledger.release(made.hold);
    clock.advance(1_000);
    await waiting;
    expect(ledger.read([meter])[0]).toMatchObject({ settled: 1e8, held: 8e8 });
  });
});

describe("a block that waits", () => {
  const gate = () => {
    let open!: () => void;
    const opened = new Promise<void>((resolve) => (open = resolve));
    let isOpen = false;
    const rule: Rule = {
      name: "Gate",
      evaluate: () =>
        isOpen
          ? RuleDecision.allow()
          : RuleDecision.block({ reason: "shut" }).waiting(() => opened.then(() => (isOpen = true))),
    };
    return { rule, open };
  };

  it("lets the call wait for the answer, and then every rule judges it again", async () => {
    const { rule, open } = gate();
    const { policy } = bench([rule]);
    let isIn = false;
    const waiting = policy.authorize(call).then(() => (isIn = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isIn).toBe(false);
    open();
    await waiting;
  });

  it("does not hold up a dry run", async () => {
    const { policy } = bench([gate().rule]);
    expect(await policy.evaluate(call)).toMatchObject([{ allow: false, metadata: { reason: "shut" } }]);
  });

  it("refuses the call with the error its wait ends in", async () => {
    const failure = new Error("the store is gone");
    const rule: Rule = { name: "Gate", evaluate: () => RuleDecision.block().waiting(() => Promise.reject(failure)) };
    await expect(bench([rule]).policy.authorize(call)).rejects.toBe(failure);
  });

  it("can be the answer to a refused claim", async () => {
    let limit = 0.1;
    const rule: Rule = {
      name: "Grows",
      evaluate: () => RuleDecision.claim({ scope: "workspace", measure: "usd", window: { kind: "lifetime" }, limit }),
      onShortfall: () => RuleDecision.block().waiting(async () => (limit = 1)),
    };
    await bench([rule]).policy.authorize(call);
  });
});
