import { KeyvLedger, type MeterClaim } from "@driftlock/core";
import { Keyv } from "keyv";
import { meters } from "./ledger.js";
import { compare, perOperation, type Effort, type Repeat, type Result } from "./measure.js";

const CONCURRENT = 64;

/** The durable ledger's own work: its store is a Map that answers at once. */
export async function keyv(effort: Effort): Promise<Result[]> {
  const compared = await compare(pairs(new KeyvLedger(new Keyv())), getAndSet(new Keyv()), effort);
  return [perOperation(`Keyv ledger over a Map: reserve + settle, 4 claims, ${CONCURRENT} concurrent`, compared, 60)];
}

let ids = 0;

function pairs(ledger: KeyvLedger): Repeat {
  const claims: MeterClaim[] = meters.map((meter) => ({
    meter,
    limit: 5e15,
    fixed: 640_000,
    perToken: 10_000,
    scale: 1_000,
  }));
  const lease = { ms: 60_000, onExpiry: "charge" } as const;
  return concurrently(async () => {
    const answer = await ledger.reserve({ id: `call-${ids++}`, claims, floor: 256, want: 4_096, take: "want", lease });
    if (answer.kind !== "held") throw new Error(answer.kind);
    await ledger.settle(answer.hold, { usd: 1_200_000, tokens: 370, known: true });
  });
}

/** One get and one set of a small record: what any ledger on this store pays at least. */
function getAndSet(store: Keyv): Repeat {
  return concurrently(async () => {
    const key = `account-${ids++ % 100}`;
    const record = (await store.get<{ settled: number }>(key)) ?? { settled: 0 };
    await store.set(key, { settled: record.settled + 1_200_000 });
  });
}

function concurrently(operation: () => Promise<void>): Repeat {
  return async (n) => {
    let left = n;
    const worker = async () => {
      while (left-- > 0) await operation();
    };
    await Promise.all(Array.from({ length: CONCURRENT }, worker));
  };
}
