/** What one benchmark found; printed as one line of JSON. */
export interface Result {
  readonly bench: string;
  readonly median: number;
  readonly unit: "µs/op" | "ops/s" | "bytes" | "ms" | "%";
  /** The median of a bare lower bound, measured in the same run, in the same unit. */
  readonly lowerBound?: number;
  /** How many times the lower bound's time (or size) it takes. */
  readonly ratio?: number;
  readonly target?: string;
  readonly met?: boolean;
  readonly runs: number;
  readonly note?: string;
}

/** How long things may take. */
export interface Effort {
  /** ms of measuring for each side of a comparison. */
  readonly measureMs: number;
  readonly warmUpMs: number;
  /** Imports measured per side, each in a process of its own. */
  readonly processes: number;
  /** Processes in which a heap is weighed. */
  readonly heaps: number;
  /** Calls settled before "after many calls" is measured. */
  readonly manyCalls: number;
  readonly manyUsers: number;
}

export const FULL: Effort = {
  measureMs: 2_000,
  warmUpMs: 700,
  processes: 15,
  heaps: 3,
  manyCalls: 1_000_000,
  manyUsers: 100_000,
};
/** For a first look; the many are still many enough to see growth. */
export const QUICK: Effort = {
  measureMs: 120,
  warmUpMs: 300,
  processes: 5,
  heaps: 1,
  manyCalls: 50_000,
  manyUsers: 20_000,
};

/** Does an operation n times. The loop is the benchmark's own, so that no shared loop turns megamorphic. */
export type Repeat = (n: number) => void | Promise<void>;

export interface Compared {
  /** Medians in µs per operation. */
  readonly subject: number;
  readonly lowerBound: number;
  readonly rounds: number;
}

/** A round is long enough for the timer and short enough to fall between two disturbances of a shared machine. */
const ROUND_MS = 8;

/**
 * Measures both sides in turns, a few milliseconds each: what disturbs the machine disturbs both, and their ratio stays. The
 * libraries (tinybench, mitata) run one task after the other, which on two shared cores compares two moments instead.
 */
export async function compare(subject: Repeat, lowerBound: Repeat, effort: Effort): Promise<Compared> {
  const sides = [await warm(subject, effort.warmUpMs), await warm(lowerBound, effort.warmUpMs / 2)] as const;
  const rounds = Math.max(15, Math.ceil(effort.measureMs / ROUND_MS));
  for (let round = 0; round < rounds; round++)
    for (const side of sides) side.times.push(await time(side.repeat, side.n));
  return { subject: median(sides[0].times), lowerBound: median(sides[1].times), rounds };
}

async function warm(repeat: Repeat, ms: number): Promise<{ repeat: Repeat; n: number; times: number[] }> {
  const end = performance.now() + ms;
  let n = 1;
  while (performance.now() < end) {
    const took = ((await time(repeat, n)) * n) / 1_000;
    if (took < ROUND_MS / 2) n *= 2;
    else n = Math.max(1, Math.round((n * ROUND_MS) / took));
  }
  return { repeat, n, times: [] };
}

/** µs per operation of one round. */
async function time(repeat: Repeat, n: number): Promise<number> {
  const start = performance.now();
  const done = repeat(n);
  if (done instanceof Promise) await done;
  return ((performance.now() - start) * 1_000) / n;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Three digits that mean something. */
export function round(value: number): number {
  return value >= 1_000 ? Math.round(value) : Number(value.toPrecision(3));
}

/** The result of a comparison in µs per operation. */
export function perOperation(bench: string, { subject, lowerBound, rounds }: Compared, mostMicros: number): Result {
  return {
    bench,
    median: round(subject),
    unit: "µs/op",
    lowerBound: round(lowerBound),
    ratio: round(subject / lowerBound),
    target: `≤ ${mostMicros} µs/op`,
    met: subject <= mostMicros,
    runs: rounds,
  };
}

/** The result of a comparison whose ratio is the point: the same operation with little and with much behind it. */
export function growth(
  bench: string,
  { subject, lowerBound, rounds }: Compared,
  mostRatio: number,
  note?: string,
): Result {
  const ratio = subject / lowerBound;
  return {
    bench,
    median: round(subject),
    unit: "µs/op",
    lowerBound: round(lowerBound),
    ratio: round(ratio),
    target: `ratio ≤ ${mostRatio}`,
    met: ratio <= mostRatio,
    runs: rounds,
    ...(note === undefined ? {} : { note }),
  };
}
