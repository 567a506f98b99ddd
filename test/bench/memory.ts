import { fork } from "node:child_process";
import { MemoryLedger, type Meter } from "@driftlock/core";
import { median, round, type Effort, type Result } from "./measure.js";
import { eightRules, engine, FastClock, USAGE } from "./policies.js";

/** A case measured in a process of its own: what it builds, and how many of what is measured that holds. */
interface Case {
  readonly bench: string;
  readonly most: number;
  /** Bytes of a Map entry with a number and the same key: what even the barest ledger pays. */
  readonly key: (i: number) => string;
  readonly count: number;
  readonly build: (count: number) => unknown;
}

const DAY_MS = 86_400_000;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

const cases: readonly Case[] = [
  {
    bench: "memory: a meter of a calendar month, every day used",
    most: 1_024,
    key: (i) => `label:user_id:user-${i}`,
    count: 2_000,
    build: (count) =>
      chargedLedger(
        { measure: "usd", window: { kind: "calendar", unit: "month" }, series: "usd/days/UTC" },
        count,
        32,
        DAY_MS,
      ),
  },
  {
    bench: "memory: a meter of a sliding minute, every sub-bucket used",
    most: 1_024,
    key: (i) => `label:user_id:user-${i}`,
    count: 2_000,
    build: (count) =>
      chargedLedger(
        { measure: "usd", window: { kind: "sliding", ms: 60_000 }, series: "usd/slide/60000" },
        count,
        31,
        2_000,
      ),
  },
  {
    bench: "memory: a user under all 8 rules, three calls on every day of a month",
    most: 2_048,
    key: (i) => `label:user_id:user-${i}`,
    count: 2_000,
    build: (count) =>
      usersOfEngine(
        count,
        range(32).flatMap(() => [DAY_MS - 2_000, 1_000, 1_000]),
      ),
  },
  {
    bench: "memory: a user under all 8 rules, every bucket of every window used",
    most: 2_048,
    key: (i) => `label:user_id:user-${i}`,
    count: 2_000,
    build: (count) =>
      usersOfEngine(count, [
        ...range(32).map(() => DAY_MS),
        ...range(30).map(() => 120_000),
        ...range(30).map(() => 2_000),
      ]),
  },
];

/** Bytes of heap after collection, for each meter or user. A crowded machine weighs the same, so all cases run at once. */
export function memory({ heaps }: Effort): Promise<Result[]> {
  return Promise.all(cases.map((one, index) => weigh(one, index, heaps)));
}

async function weigh({ bench, most }: Case, index: number, heaps: number): Promise<Result> {
  const runs: Bytes[] = [];
  for (let run = 0; run < heaps; run++) runs.push(await measured(index));
  const bytes = Math.round(median(runs.map((run) => run.bytes)));
  const bare = Math.round(median(runs.map((run) => run.bare)));
  return {
    bench,
    median: bytes,
    unit: "bytes",
    lowerBound: bare,
    ratio: round(bytes / bare),
    target: `≤ ${most} bytes`,
    met: bytes <= most,
    runs: runs.length,
  };
}

interface Bytes {
  readonly bytes: number;
  readonly bare: number;
}

function measured(index: number): Promise<Bytes> {
  return new Promise((resolve, reject) => {
    const child = fork(new URL(import.meta.url), [String(index)], { execArgv: [...process.execArgv, "--expose-gc"] });
    child.once("message", (bytes) => resolve(bytes as Bytes));
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the memory of case ${index} could not be measured: exit ${code}`)));
  });
}

/** A ledger whose `count` accounts were charged `times` times, `stepMs` apart. */
function chargedLedger(
  view: Omit<Meter, "account" | "timeZone">,
  count: number,
  times: number,
  stepMs: number,
): unknown {
  const clock = new FastClock();
  const book = new MemoryLedger({ clock });
  for (let time = 0; time < times; time++) {
    for (let i = 0; i < count; i++) {
      const meter = { ...view, account: `label:user_id:user-${i}`, timeZone: "UTC" };
      const claims = [{ meter, limit: 5e15, fixed: 1_000, perToken: 0, scale: 1 }];
      const lease = { ms: 1_000, onExpiry: "charge" } as const;
      const answer = book.reserve({ id: `${time}/${i}`, claims, floor: 0, want: 0, take: "want", lease });
      if (answer.kind !== "held") throw new Error(answer.kind);
      book.settle(answer.hold, { usd: 1_200_000 + i, tokens: 0, known: true });
    }
    clock.tick(stepMs);
  }
  return book;
}

/** An engine with `count` users who each made a call after each of these waits (ms). */
async function usersOfEngine(count: number, waits: readonly number[]): Promise<unknown> {
  const clock = new FastClock();
  const policy = engine(eightRules("user"), clock);
  for (const ms of waits) {
    clock.tick(ms);
    for (let i = 0; i < count; i++) {
      const auth = await policy.authorize({
        model: "gpt-4o",
        inputTokens: 300,
        labels: { user_id: `user-${i}`, plan: "pro" },
      });
      await auth.settle(USAGE);
    }
  }
  return policy;
}

const kept: unknown[] = [];

/** Only a child of `measured` has somebody to tell. */
if (process.send !== undefined && process.argv[1]?.endsWith("memory.ts")) {
  const { build, count, key } = cases[Number(process.argv[2])]!;
  // What is compiled and cached at the first use is not counted.
  await build(100);
  const bytes = await heapOf(() => build(count), count);
  const bare = await heapOf(() => new Map(Array.from({ length: count }, (_, i) => [key(i), i + 0.5])), count);
  process.send({ bytes, bare } satisfies Bytes);
  process.disconnect();
}

/** Kept, or it would be collected before it is weighed. */
function heapOf(build: () => unknown, count: number): Promise<number> {
  const before = collected();
  return Promise.resolve(build()).then((built) => {
    kept.push(built);
    return (collected() - before) / count;
  });
}

function collected(): number {
  for (let i = 0; i < 4; i++) globalThis.gc!();
  return process.memoryUsage().heapUsed;
}
