import { RedisLedger, type MeterClaim } from "@driftlock/core";
import { claimOf, meterOf } from "@driftlock/core/testing";
import { startRedis } from "@driftlock/redis-server";
import KeyvRedis, { createClient } from "@keyv/redis";
import { Keyv } from "keyv";
import { compare, growth, median, round, type Effort, type Repeat, type Result } from "./measure.js";

const LIFETIME = { kind: "lifetime" } as const;
const MONTH = { kind: "calendar", unit: "month" } as const;
const MINUTE = { kind: "sliding", ms: 60_000 } as const;
const HOUR = { kind: "sliding", ms: 3_600_000 } as const;
const lease = { ms: 60_000, onExpiry: "charge" } as const;
const bill = { usd: 1_200_000, tokens: 370, known: true };

/** Redis on loopback: round trips beside a PING, scripts beside one that does nothing, on the same connection. */
export async function redis(effort: Effort): Promise<Result[]> {
  await using server = await startRedis();
  const client = createClient({ url: server.url });
  await client.connect();
  const keyv = new Keyv(new KeyvRedis(client as never));
  const bench = new Bench(client as Client, (namespace) => new RedisLedger(keyv, { namespace }));
  try {
    const results: Result[] = [];
    for (const [claims, latency, rate] of [
      [1, 1.6, 20],
      [4, 1.9, 15],
      [8, 2.8, 9],
    ] as const) {
      results.push(await bench.latency(claims, latency, effort), await bench.rate(claims, rate, effort));
    }
    results.push(await bench.pairs(effort), await bench.calls(effort), await bench.users(effort));
    return results;
  } finally {
    await client.close();
  }
}

/** The claims of a call, the series that are always kept among them. */
function claimsFor(user: string, count: number): MeterClaim[] {
  const own = `label:user_id:${user}`;
  return [
    claimOf(meterOf("workspace", "usd", MONTH), 5e15, 1_500_000),
    claimOf(meterOf(own, "usd", MONTH), 5e15, 1_500_000),
    claimOf(meterOf("workspace", "calls", MINUTE), 1e12),
    claimOf(meterOf("workspace", "in-flight", LIFETIME), 1e12),
    claimOf(meterOf(own, "calls", MINUTE), 1e12),
    claimOf(meterOf(own, "usd", MINUTE), 5e15, 1_500_000),
    claimOf(meterOf("workspace", "usd", HOUR), 5e15, 1_500_000),
    claimOf(meterOf(own, "tokens", LIFETIME), 1e15, 4_000),
  ].slice(0, count);
}

type Client = ReturnType<typeof createClient>;

class Bench {
  readonly #client: Client;
  readonly #open: (namespace: string) => RedisLedger;
  #ids = 0;

  constructor(client: Client, open: (namespace: string) => RedisLedger) {
    this.#client = client;
    this.#open = open;
  }

  /** One call after the other: the median time of a reserve, and of a PING before each. */
  async latency(count: number, most: number, effort: Effort): Promise<Result> {
    const ledger = this.#open(`latency-${count}`);
    const claims = claimsFor("ada", count);
    const times: number[] = [];
    const pings: number[] = [];
    const end = performance.now() + effort.warmUpMs + effort.measureMs;
    while (performance.now() < end) {
      const isWarm = performance.now() > end - effort.measureMs;
      const began = performance.now();
      await this.#client.ping();
      const pinged = performance.now();
      const hold = await this.#hold(ledger, claims);
      const held = performance.now();
      await ledger.settle(hold, bill);
      if (!isWarm) continue;
      pings.push((pinged - began) * 1_000);
      times.push((held - pinged) * 1_000);
    }
    const compared = { subject: median(times), lowerBound: median(pings), rounds: times.length };
    return growth(`Redis: reserve, ${claimsNamed(count)}, p50, to a PING`, compared, most);
  }

  /** 64 at once: scripts per second, in percent of those that do nothing. */
  async rate(count: number, least: number, effort: Effort): Promise<Result> {
    const trivial = await this.#client.scriptLoad("return 1");
    const nothing = concurrently(64, () =>
      this.#client.evalSha(trivial, { keys: ["{driftlock::}:head"], arguments: ["1"] }),
    );
    const compared = await compare(
      this.#pairs(this.#open(`rate-${count}`), 64, () => claimsFor("ada", count)),
      nothing,
      effort,
    );
    const [ours, theirs] = [2e6 / compared.subject, 1e6 / compared.lowerBound];
    const percent = (100 * ours) / theirs;
    return {
      bench: `Redis: scripts/s of reserve + settle, ${claimsNamed(count)}, 64 concurrent, to a trivial EVALSHA`,
      median: round(ours),
      unit: "ops/s",
      lowerBound: round(theirs),
      ratio: round(theirs / ours),
      target: `≥ ${least} % of the trivial`,
      met: percent >= least,
      runs: compared.rounds,
      note: `${round(percent)} %`,
    };
  }

  async pairs(effort: Effort): Promise<Result> {
    const pairs = this.#pairs(this.#open("pairs"), 200, () => claimsFor("ada", 1));
    const pings = concurrently(200, () => this.#client.ping());
    const compared = await compare(pairs, pings, effort);
    const rate = 1e6 / compared.subject;
    return {
      bench: "Redis: reserve + settle pairs/s, 1 claim, 200 concurrent (lower bound: PINGs/s)",
      median: round(rate),
      unit: "ops/s",
      lowerBound: round(1e6 / compared.lowerBound),
      ratio: round(compared.subject / compared.lowerBound),
      target: "≥ 20000 pairs/s",
      met: rate >= 20_000,
      runs: compared.rounds,
    };
  }

  async calls(effort: Effort): Promise<Result> {
    const old = this.#pairs(this.#open("old"), 64, () => claimsFor("ada", 4));
    await old(effort.manyCalls);
    const young = this.#pairs(this.#open("young"), 64, () => claimsFor("ada", 4));
    const compared = await compare(old, young, effort);
    return growth(`Redis: reserve + settle after ${effort.manyCalls} settled calls, to a new namespace`, compared, 1.2);
  }

  async users(effort: Effort): Promise<Result> {
    let next = 0;
    const someUser = () => `user-${(next += 61_813) % effort.manyUsers}`;
    const many = this.#pairs(this.#open("many"), 64, () => claimsFor(someUser(), 4));
    await many(effort.manyUsers);
    const one = this.#pairs(this.#open("one"), 64, () => claimsFor("ada", 4));
    return growth(
      `Redis: reserve + settle for ${effort.manyUsers} users, to one`,
      await compare(many, one, effort),
      1.3,
    );
  }

  #pairs(ledger: RedisLedger, concurrent: number, claims: () => readonly MeterClaim[]): Repeat {
    return concurrently(concurrent, async () => ledger.settle(await this.#hold(ledger, claims()), bill));
  }

  async #hold(ledger: RedisLedger, claims: readonly MeterClaim[]) {
    const id = `call-${this.#ids++}`;
    const answer = await ledger.reserve({ id, claims, floor: 256, want: 4_096, take: "want", lease });
    if (answer.kind !== "held") throw new Error(answer.kind);
    return answer.hold;
  }
}

function claimsNamed(count: number): string {
  return count === 1 ? "1 claim" : `${count} claims`;
}

function concurrently(workers: number, operation: () => Promise<unknown>): Repeat {
  return async (n) => {
    let left = n;
    const work = async () => {
      while (left-- > 0) await operation();
    };
    await Promise.all(Array.from({ length: Math.min(workers, n) }, work));
  };
}
