import { MemoryLedger, type Meter, type MeterClaim } from "@driftlock/core";
import { compare, perOperation, round, type Effort, type Repeat, type Result } from "./measure.js";

export const meters: readonly Meter[] = [
  {
    account: "workspace",
    measure: "usd",
    window: { kind: "calendar", unit: "month" },
    timeZone: "UTC",
    series: "usd/days/UTC",
  },
  {
    account: "workspace",
    measure: "calls",
    window: { kind: "sliding", ms: 60_000 },
    timeZone: "UTC",
    series: "calls/slide/60000",
  },
  {
    account: "label:user_id:ada",
    measure: "usd",
    window: { kind: "calendar", unit: "month" },
    timeZone: "UTC",
    series: "usd/days/UTC",
  },
  {
    account: "workspace",
    measure: "usd",
    window: { kind: "sliding", ms: 3_600_000 },
    timeZone: "UTC",
    series: "usd/slide/3600000",
  },
];

/** The memory ledger alone, without rules, prices and promises. */
export async function ledger(effort: Effort): Promise<Result[]> {
  const one = await compare(pairs(1), bareMaps(1), effort);
  const four = await compare(pairs(4), bareMaps(4), effort);
  const perSecond = 1e6 / one.subject;
  return [
    {
      bench: "memory ledger: reserve + settle, 1 claim",
      median: Math.round(perSecond),
      unit: "ops/s",
      lowerBound: Math.round(1e6 / one.lowerBound),
      ratio: round(one.subject / one.lowerBound),
      target: "≥ 400000 ops/s",
      met: perSecond >= 400_000,
      runs: one.rounds,
    },
    perOperation("memory ledger: reserve + settle, 4 claims", four, 4),
  ];
}

let ids = 0;

function pairs(claims: number): Repeat {
  const book = new MemoryLedger();
  const lease = { ms: 60_000, onExpiry: "charge" } as const;
  const actual = { usd: 1_200_000, tokens: 370, known: true };
  return (n) => {
    for (let i = 0; i < n; i++) {
      // A call's claims are its own objects: the amounts differ from call to call.
      const own: MeterClaim[] = [];
      for (let k = 0; k < claims; k++) {
        own.push({ meter: meters[k]!, limit: 5e15, fixed: 640_000, perToken: 10_000, scale: 1_000, shadow: false });
      }
      const answer = book.reserve({ id: `call-${ids++}`, claims: own, floor: 256, want: 4_096, take: "want", lease });
      if (answer.kind !== "held") throw new Error(answer.kind);
      book.settle(answer.hold, actual);
    }
  };
}

/** What nobody can do without: an account and a hold found and written in a Map, and plain numbers changed. */
function bareMaps(claims: number): Repeat {
  const accounts = new Map(Array.from({ length: 100 }, (_, i) => [`account-${i}`, { settled: 0, held: 0 }]));
  const holds = new Map<string, { amount: number }>();
  return (n) => {
    for (let i = 0; i < n; i++) {
      const id = `call-${ids++}`;
      for (let k = 0; k < claims; k++) accounts.get(`account-${k}`)!.held += 41_600;
      holds.set(id, { amount: 41_600 });
      const { amount } = holds.get(id)!;
      for (let k = 0; k < claims; k++) {
        const account = accounts.get(`account-${k}`)!;
        account.held -= amount;
        account.settled += 1_200_000;
      }
      holds.delete(id);
    }
  };
}
