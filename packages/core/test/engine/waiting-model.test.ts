import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Authorization } from "../../src/call/authorization.js";
import { MemoryLedger } from "../../src/ledger/memory.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { ManualClock } from "../../src/testing/manual-clock.js";
import { lateLedger } from "./faulty-ledger.js";
import { bench, costing, used } from "./kit.js";

type Step =
  | { readonly kind: "arrive"; readonly cents: number; readonly user: number; readonly waitMs: number }
  | { readonly kind: "close"; readonly which: number; readonly percent: number }
  | { readonly kind: "abort"; readonly which: number }
  | { readonly kind: "pass"; readonly ms: number };

const steps = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("arrive" as const),
        cents: fc.integer({ min: 1, max: 60 }),
        user: fc.integer({ min: 0, max: 2 }),
        waitMs: fc.integer({ min: 1, max: 20 }).map((n) => n * 100),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("close" as const),
        which: fc.nat(),
        percent: fc.constantFrom(0, 10, 50, 100),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("abort" as const), which: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 10, max: 900 }) }) },
  ) as fc.Arbitrary<Step>,
  { minLength: 4, maxLength: 24 },
);

interface Waiter {
  readonly index: number;
  readonly cents: number;
  readonly user: number;
  readonly deadline: number;
  readonly controller: AbortController;
  state: "waiting" | "let in" | "refused" | "aborted" | "closed";
  auth?: Authorization;
  closing?: boolean;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const LIMIT = 100;

/** Runs the steps; `check` sees the world after each of them, when everybody who can go on has gone on. */
async function play(
  script: readonly Step[],
  perUser: boolean,
  isLate: boolean,
  check: (world: World) => void,
  model?: Model,
) {
  const clock = new ManualClock();
  const inner = new MemoryLedger({ clock });
  const rules = [
    new BudgetRule({ maxUsd: LIMIT / 100, per: "lifetime" }),
    ...(perUser ? [new BudgetRule({ name: "user", maxUsd: 0.5, per: "lifetime", scope: "user" })] : []),
  ];
  const { policy } = bench(rules, { store: isLate ? lateLedger(inner) : inner, clock });
  const calls: Waiter[] = [];
  const world: World = { calls, settled: 0, userSettled: [0, 0, 0], now: () => clock.now() };
  const after = async () => {
    await turn();
    check(world);
  };
  /** Instants at which something may happen, one after the other. */
  const passTo = async (end: number) => {
    for (;;) {
      const next = Math.min(end, ...calls.filter(({ state }) => state === "waiting").map(({ deadline }) => deadline));
      clock.advanceTo(next);
      await turn();
      model?.timeTo(next);
      if (next === end) break;
    }
    check(world);
  };
  for (const step of script) {
    if (step.kind === "pass") {
      await passTo(clock.now() + step.ms);
      continue;
    }
    if (step.kind === "arrive") {
      const { cents, user } = step;
      // No two deadlines are the same: who is first then is not the point here.
      const waitMs = step.waitMs + calls.length / 64;
      const call: Waiter = {
        index: calls.length,
        cents,
        user,
        deadline: clock.now() + waitMs,
        controller: new AbortController(),
        state: "waiting",
      };
      calls.push(call);
      model?.arrive(call);
      policy
        .authorize(costing(cents / 100, { labels: { user_id: `u${user}` }, waitMs, signal: call.controller.signal }))
        .then(
          (auth) => Object.assign(call, { state: "let in", auth }),
          (error: unknown) =>
            Object.assign(call, { state: (error as Error).message === "left" ? "aborted" : "refused" }),
        );
    } else if (step.kind === "close") {
      const open = calls.filter(({ state }) => state === "let in");
      const call = open[step.which % Math.max(1, open.length)];
      if (call === undefined) continue;
      const cents = Math.floor((call.cents * step.percent) / 100);
      world.settled += cents;
      world.userSettled[call.user]! += cents;
      call.state = "closed";
      model?.close(call, cents);
      void (cents === 0 ? call.auth!.release() : call.auth!.settle(used(cents / 100)));
    } else {
      const waiting = calls.filter(({ state }) => state === "waiting");
      const call = waiting[step.which % Math.max(1, waiting.length)];
      if (call === undefined) continue;
      model?.abort(call);
      call.controller.abort(new Error("left"));
    }
    await after();
  }
  await passTo(clock.now() + 3_000);
  expect(calls.filter(({ state }) => state === "waiting")).toEqual([]);
  for (const { auth } of calls) await auth?.settle(used(0));
  await policy.close();
}

interface World {
  readonly calls: readonly Waiter[];
  settled: number;
  readonly userSettled: number[];
  now(): number;
}

/** One meter, one line: what must happen, said in the plainest way. */
class Model {
  readonly states = new Map<number, Waiter["state"]>();
  readonly #line: Waiter[] = [];
  #settled = 0;
  #held = 0;

  arrive(call: Waiter): void {
    this.#line.push(call);
    this.states.set(call.index, "waiting");
    // Nobody lines up for what cannot come.
    if (this.#hopeless(call)) this.#leave(call, "refused");
    else this.#serve();
  }
  close(call: Waiter, cents: number): void {
    this.#held -= call.cents;
    this.#settled += cents;
    this.states.set(call.index, "closed");
    this.#serve();
  }
  abort(call: Waiter): void {
    this.#leave(call, "aborted");
  }
  timeTo(now: number): void {
    for (const call of this.#line.filter(({ deadline }) => deadline <= now))
      this.#leave(call, this.#fits(call) ? "let in" : "refused");
  }
  #fits({ cents }: Waiter): boolean {
    return this.#settled < LIMIT && this.#settled + this.#held + cents <= LIMIT;
  }
  #hopeless({ cents }: Waiter): boolean {
    return this.#settled >= LIMIT || this.#settled + cents > LIMIT;
  }
  #leave(call: Waiter, state: Waiter["state"]): void {
    this.#line.splice(this.#line.indexOf(call), 1);
    this.states.set(call.index, state);
    if (state === "let in") this.#held += call.cents;
    this.#serve();
  }
  #serve(): void {
    const [head] = this.#line;
    if (head === undefined) return;
    if (this.#fits(head)) this.#leave(head, "let in");
    else if (this.#hopeless(head)) this.#leave(head, "refused");
  }
}

describe.each([
  ["that answers at once", false],
  ["that answers later", true],
])("waiting on a ledger %s, whatever comes, closes, leaves and passes", (_name, isLate) => {
  it("one meter is served exactly first come, first served", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        const model = new Model();
        await play(
          script,
          false,
          isLate,
          ({ calls }) => {
            const shown = (call: Waiter) => model.states.get(call.index) ?? "unknown";
            expect(calls.map(({ state }) => state)).toEqual(calls.map(shown));
          },
          model,
        );
      }),
      { numRuns: process.env.CI ? 1_000 : 250 },
    );
  });

  it("on several meters no limit is passed, nobody sleeps while there is room and nobody before it, nobody outsleeps its deadline", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        await play(script, true, isLate, ({ calls, settled, userSettled, now }) => {
          const held = (of: (call: Waiter) => boolean) =>
            calls.filter((call) => call.state === "let in" && of(call)).reduce((sum, { cents }) => sum + cents, 0);
          const all = settled + held(() => true);
          const users = userSettled.map((spent, user) => spent + held((call) => call.user === user));
          expect(all).toBeLessThanOrEqual(LIMIT);
          for (const sum of users) expect(sum).toBeLessThanOrEqual(50);
          const waiting = calls.filter(({ state }) => state === "waiting");
          const first = waiting[0];
          if (first !== undefined)
            expect(
              all + first.cents <= LIMIT && users[first.user]! + first.cents <= 50,
              `call ${first.index} sleeps though it fits`,
            ).toBe(false);
          for (const { deadline } of waiting) expect(deadline).toBeGreaterThan(now());
        });
      }),
      { numRuns: process.env.CI ? 1_000 : 250 },
    );
  });
});
