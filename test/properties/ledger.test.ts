import { KeyvLedger, MemoryLedger, RedisLedger, type Hold, type MeterReading, type Reserved } from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";
import KeyvRedis from "@keyv/redis";
import fc from "fast-check";
import { Keyv } from "keyv";
import { afterAll, describe, expect, inject, it } from "vitest";
import { ExactLog } from "./exact-log.js";
import { patient, runs } from "./runs.js";
import { beginning, meters, story, storyWithSlices, type Operation } from "./story.js";
import { allPicked, billOf, expectedOf, picked, Teller, views } from "./teller.js";

const keyv = new Keyv(new KeyvRedis(inject("redisUrl")));
afterAll(() => keyv.disconnect());

/** Later than this after its lease a call may be forgotten (10 min), and then it is another story. */
const REMEMBERED_MS = 540_000;

describe("in exact mode", () => {
  it("settled and held never pass a limit, whatever happens within the bounds", patient, async () => {
    await fc.assert(
      fc.asyncProperty(beginning, story, async (start, operations) => {
        const clock = new ManualClock(start);
        const teller = new Teller(new MemoryLedger({ clock }));
        const closed = new Set<string>();
        for (const operation of operations) {
          if (operation.kind === "tick") clock.advance(operation.ms);
          else await teller.tell(withinBounds(operation, teller.holds, closed));
          const readings = await teller.ledger.read(views);
          for (const [i, { settled, held }] of readings.entries()) {
            expect(settled + held, JSON.stringify(views[i])).toBeLessThanOrEqual(meters[i]!.limit);
          }
        }
      }),
      { numRuns: runs(1_000) },
    );
  });
});

/**
 * A bill above its bound, one after a release and one after a lease that released are overruns, which are recorded beyond the
 * limit: those calls are released. And a reserve claims all windows of a series that it charges.
 */
function withinBounds(operation: Operation, holds: readonly Hold[], closed: Set<string>): Operation {
  if (operation.kind === "reserve") {
    const series = operation.on.map((index) => views[index]!);
    const all = views.flatMap((view, i) =>
      series.some((each) => each.account === view.account && each.series === view.series) ? [i] : [],
    );
    return { ...operation, on: all };
  }
  if (operation.kind !== "settle" && operation.kind !== "release") return operation;
  const hold = picked(holds, operation.which);
  if (hold === undefined) return operation;
  const isFirst = !closed.has(hold.id);
  closed.add(hold.id);
  if (operation.kind === "settle" && isFirst && operation.share <= 100 && hold.onExpiry === "charge") return operation;
  return { kind: "release", which: operation.which };
}

describe("an exact log of every amount agrees with the ledgers", () => {
  it("on what is settled, held, admitted and answered, in any order and repetition of closes", patient, async () => {
    await fc.assert(
      fc.asyncProperty(beginning, story, async (start, operations) => {
        const clock = new ManualClock(start);
        const memory = new Teller(new MemoryLedger({ clock }));
        const keyv = new Teller(new KeyvLedger(new Keyv(), { clock }));
        const log = new ExactLog();
        for (const operation of operations) {
          if (operation.kind === "tick") clock.advance(operation.ms);
          if (isForgotten(operation, memory.holds, log, clock.now())) continue;
          const before = await memory.ledger.read(views);
          const answer = await memory.tell(operation);
          expect(await keyv.tell(operation), JSON.stringify(operation)).toEqual(answer);
          agree(log, operation, answer, memory.holds, before, clock.now());
          const after = await memory.ledger.read(views);
          expect(await keyv.ledger.read(views)).toEqual(after);
          agreeOnAmounts(log, after, clock.now());
        }
      }),
      { numRuns: runs(1_000) },
    );
  });

  it("and all three answer alike, command by command, slices included", patient, async () => {
    await fc.assert(
      fc.asyncProperty(beginning, storyWithSlices, async (start, operations) => {
        const clock = new ManualClock(start);
        const memory = new Teller(new MemoryLedger({ clock }));
        const namespace = `model-${crypto.randomUUID()}`;
        const others = [
          new Teller(new KeyvLedger(new Keyv(), { clock })),
          new Teller(new RedisLedger(keyv, { namespace, clock }, () => clock.now())),
        ];
        for (const operation of operations) {
          if (operation.kind === "tick") clock.advance(operation.ms);
          const answer = await memory.tell(operation);
          const readings = await memory.ledger.read(views);
          for (const other of others) {
            expect(await other.tell(operation), JSON.stringify(operation)).toEqual(answer);
            expect(await other.ledger.read(views)).toEqual(readings);
          }
        }
      }),
      { numRuns: runs(500) },
    );
  });

  it("and a group commit answers what one operation after the other would", patient, async () => {
    await fc.assert(
      fc.asyncProperty(story, fc.integer({ min: 2, max: 20 }), async (operations, size) => {
        const clock = new ManualClock();
        const memory = new Teller(new MemoryLedger({ clock }));
        const keyv = new Teller(new KeyvLedger(new Keyv(), { clock }));
        for (let at = 0; at < operations.length; at += size) {
          const group = operations.slice(at, at + size);
          for (const operation of group) if (operation.kind === "tick") clock.advance(operation.ms);
          const [expected, found] = [memory, keyv].map(async (teller) => {
            const holds = [...teller.holds];
            return Promise.all(group.map(async (operation) => teller.tell(operation, holds)));
          });
          expect(await found).toEqual(await expected);
        }
      }),
      { numRuns: runs(1_000) },
    );
  });
});

function isForgotten(operation: Operation, holds: readonly Hold[], log: ExactLog, now: number): boolean {
  if (!("which" in operation)) return false;
  const about = allPicked(holds, [operation.which].flat());
  return about.length === 0 || about.some(({ id }) => log.overdue(id, now) > REMEMBERED_MS);
}

/** The log does what the ledger was asked to do, and says the same of it. */
function agree(
  log: ExactLog,
  operation: Operation,
  answer: unknown,
  holds: readonly Hold[],
  before: readonly MeterReading[],
  now: number,
): void {
  switch (operation.kind) {
    case "reserve": {
      const reserved = answer as Reserved;
      const { n, short } = expectedOf(operation, before);
      if (reserved.kind === "held") {
        expect(reserved.n).toBe(n);
        const parts = reserved.hold.meters.map((meter, i) => ({ meter, amount: reserved.hold.amounts[i]! }));
        log.reserve(reserved.hold.id, parts, operation.lease, now);
      } else {
        expect(n).toBeUndefined();
        expect(reserved.kind === "short" && reserved.shortages.map(({ claim }) => claim)).toEqual(short);
      }
      break;
    }
    case "settle": {
      const hold = picked(holds, operation.which)!;
      expect(answer).toMatchObject({ outcome: log.settle(hold.id, billOf(hold, operation), now) });
      break;
    }
    case "release":
      expect(answer).toMatchObject({ outcome: log.release(picked(holds, operation.which)!.id, now) });
      break;
    case "renew":
      expect(answer).toEqual(allPicked(holds, operation.which).map(({ id }) => log.renew(id, operation.ms, now)));
      break;
    case "check":
    case "amend":
    case "tick":
      break;
  }
}

/** Equal in lifetimes and windows of dates; a sliding window counts all of its length and at most a thirtieth more. */
function agreeOnAmounts(log: ExactLog, readings: readonly MeterReading[], now: number): void {
  for (const [i, { settled, held }] of readings.entries()) {
    const meter = views[i]!;
    const message = JSON.stringify(meter);
    expect(held, message).toBe(log.held(meter, now));
    if (meter.window.kind === "sliding") {
      const { ms } = meter.window;
      expect(settled, message).toBeGreaterThanOrEqual(log.settled(meter, now, ms));
      expect(settled, message).toBeLessThanOrEqual(log.settled(meter, now, (ms * 31) / 30 + 1));
    } else {
      expect(settled, message).toBe(log.settled(meter, now));
    }
  }
}
