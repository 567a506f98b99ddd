import type { Hold, Ledger, Meter, MeterClaim, Reserved, ReserveRequest } from "../../src/ledger/ledger.js";
import { MemoryLedger } from "../../src/ledger/memory.js";
import type { ManualClock } from "../../src/testing/index.js";

/** A ledger with one mistake, and a case of the suite that must notice it. */
export interface BrokenLedger {
  readonly mistake: string;
  readonly noticedBy: string;
  create(clock: ManualClock): Ledger;
}

type Overrides = (inner: Ledger, clock: ManualClock) => Partial<Ledger>;

function broken(mistake: string, noticedBy: string, overrides: Overrides): BrokenLedger {
  return {
    mistake,
    noticedBy,
    create(clock) {
      const inner: Ledger = new MemoryLedger({ clock });
      return {
        atomicity: inner.atomicity,
        reserve: (request) => inner.reserve(request),
        check: (claims, n, drawFrom) => inner.check(claims, n, drawFrom),
        settle: (hold, actual, views) => inner.settle(hold, actual, views),
        release: (hold, views) => inner.release(hold, views),
        renew: (holds, ms) => inner.renew(holds, ms),
        read: (meters) => inner.read(meters),
        amend: (account, patch, onceId) => inner.amend(account, patch, onceId),
        acceptLoss: () => inner.acceptLoss(),
        close: () => inner.close(),
        ...overrides(inner, clock),
      };
    },
  };
}

/** A ledger that looks at other meters than those it is asked about. */
function shifted(mistake: string, noticedBy: string, shift: (meter: Meter) => Meter): BrokenLedger {
  const claim = (each: MeterClaim): MeterClaim => ({ ...each, meter: shift(each.meter) });
  return broken(mistake, noticedBy, (inner) => ({
    reserve: (request) => inner.reserve({ ...request, claims: request.claims.map(claim) }),
    check: (claims, n, drawFrom) => inner.check(claims.map(claim), n, drawFrom),
    settle: (hold, actual, views) => inner.settle(hold, actual, views?.map(shift)),
    release: (hold, views) => inner.release(hold, views?.map(shift)),
    read: (meters) => inner.read(meters.map(shift)),
  }));
}

/** A ledger that changes what it is asked to reserve. */
function asking(mistake: string, noticedBy: string, change: (request: ReserveRequest) => object): BrokenLedger {
  return broken(mistake, noticedBy, (inner) => ({
    reserve: (request) => inner.reserve({ ...request, ...change(request) }),
  }));
}

const each = (change: (claim: MeterClaim, index: number) => Partial<MeterClaim>) => (request: ReserveRequest) => ({
  claims: request.claims.map((claim, i) => ({ ...claim, ...change(claim, i) })),
});

export const brokenLedgers: readonly BrokenLedger[] = [
  broken(
    "checks, then writes: another call comes between",
    "of 100 parallel calls of $0.10 against $1.00 exactly ten are held",
    (inner) => ({
      async reserve(request): Promise<Reserved> {
        const shortages = await inner.check(request.claims, request);
        const found = shortages.filter(({ claim }) => !request.claims[claim]!.shadow);
        if (found.length > 0) return { kind: "short", shortages: found };
        await undefined;
        return inner.reserve({ ...request, ...each(() => ({ limit: Infinity }))(request) });
      },
    }),
  ),
  broken(
    "loses its holds and knows only what is settled",
    "a claim fits up to the limit exactly, counting what is settled and what is held",
    (inner) => ({
      async reserve(request) {
        const answer = await inner.reserve(request);
        if (answer.kind === "held") await inner.release(answer.hold);
        return answer;
      },
    }),
  ),
  broken(
    "counts a settle again",
    "a second settle changes nothing, and a release after a settle changes nothing",
    (inner) => ({
      async settle(hold, actual, views) {
        const closed = await inner.settle(hold, actual, views);
        if (closed.outcome !== "duplicate") return closed;
        await inner.settle({ ...hold, id: crypto.randomUUID(), epoch: "" }, actual);
        return closed;
      },
    }),
  ),
  broken(
    "does not remember ids it released unseen",
    "an id released before its reserve arrives holds nothing any more",
    (inner) => {
      const seen = new Set<string>();
      return {
        async reserve(request) {
          seen.add(request.id);
          return inner.reserve(request);
        },
        async release(hold, views) {
          return seen.has(hold.id) ? inner.release(hold, views) : { outcome: "released", readings: [] };
        },
      };
    },
  ),
  broken("writes claim by claim", "reserve holds all claims of a call, or none of them", (inner) => ({
    async reserve(request): Promise<Reserved> {
      const holds: Hold[] = [];
      for (const [i, claim] of request.claims.entries()) {
        const part = { ...request, id: `${request.id}-${i}`, claims: [claim] };
        const answer = await inner.reserve(part);
        if (answer.kind !== "held") return answer;
        holds.push(answer.hold);
      }
      return inner.reserve({ ...request, claims: [] });
    },
  })),
  broken(
    "charges no more than was held",
    "a bill above the hold and above the limit is recorded, and then blocks",
    (inner) => ({
      settle: (hold, actual, views) =>
        inner.settle(hold, { ...actual, usd: Math.min(actual.usd, Math.max(...hold.amounts)) }, views),
    }),
  ),
  broken(
    "ignores bills of holds it does not know",
    "a hold of another life of the ledger is an orphan and counted once",
    (inner) => {
      const own = new Set<string>();
      return {
        async reserve(request) {
          own.add(request.id);
          return inner.reserve(request);
        },
        settle: (hold, actual, views) =>
          own.has(hold.id) ? inner.settle(hold, actual, views) : { outcome: "duplicate", readings: [] },
      };
    },
  ),
  broken(
    "makes a change again",
    "a change with a once-id is made once, also when it is asked for in parallel",
    (inner) => ({
      amend: (account, patch) => inner.amend(account, patch),
    }),
  ),
  broken("lets renewed leases end all the same", "renewed holds live on from now, and still count once", (inner) => ({
    renew: (holds) => holds.map(() => true),
    check: (claims, n, drawFrom) => inner.check(claims, n, drawFrom),
  })),
  shifted(
    "counts one sub-bucket too few",
    "a sliding window is never over its limit in any true window of its length",
    (meter) =>
      meter.window.kind === "sliding"
        ? { ...meter, window: { kind: "sliding", ms: Math.floor((meter.window.ms * 29) / 30) } }
        : meter,
  ),
  shifted(
    "turns its days in UTC",
    "calendar windows turn where their zone says: midnight, Monday, the first",
    (meter) => ({
      ...meter,
      timeZone: "UTC",
    }),
  ),
  shifted("folds the case of names", "measures and accounts are counted apart", (meter) => ({
    ...meter,
    account: meter.account.toLowerCase(),
  })),
  asking(
    "lets one more fit",
    "once settled has reached the limit nothing fits, not even a claim of nothing",
    each(({ limit }) => ({ limit: typeof limit === "number" ? limit + 1 : limit })),
  ),
  asking(
    "holds a meter once for every claim on it",
    "claims of one call on one series are held once and checked against each limit",
    each(({ meter }, i) => ({ meter: { ...meter, series: `${meter.series}#${i}` } })),
  ),
  asking(
    "rounds down",
    "an amount is rounded up once",
    each(({ fixed, scale }) => ({ fixed: Math.floor(fixed / scale) * scale })),
  ),
  asking(
    "refuses in shadow",
    "a shadow claim is recorded, reported when it would refuse, and never refuses",
    each(() => ({ shadow: false })),
  ),
  asking(
    "gives crashed calls their money back",
    "a lease that charges counts its bound when it ends; the slot returns, the call stays counted",
    ({ lease }) => ({
      lease: { ...lease, onExpiry: "release" },
    }),
  ),
  asking("keeps the slots of the dead", "five crashes do not shut a limit of five", ({ lease }) => ({
    lease: { ...lease, ms: 1e12 },
  })),
  asking("holds for callers who are gone", "a reserve that starts after nobody waits for it holds nothing", () => ({
    notAfter: Infinity,
  })),
  asking(
    "does not look at the version seen",
    "a caller who decided by an older state is told the newer one, and nothing is held",
    () => ({ seen: undefined }),
  ),
  asking(
    "looks at the first version seen only",
    "a caller who decided by several states is told every one that is newer, in order",
    ({ seen }) => ({ seen: seen?.slice(0, 1) }),
  ),
  asking(
    "does not know whose reserve it was",
    "a reserve whose answer was lost is given back by its own caller, and ends no other call of that id",
    () => ({ attempt: undefined }),
  ),
  asking(
    "knows no slices",
    "a call that draws from a slice fits into what the slice holds, and only such a call",
    () => ({ drawFrom: undefined }),
  ),
  broken(
    "keeps what a call left of its slice for everybody",
    "what a call did not use returns to the slice, once",
    (inner) => ({
      settle: (hold, actual, views) => inner.settle(withoutDrawn(hold), actual, views),
      release: (hold, views) => inner.release(withoutDrawn(hold), views),
    }),
  ),
  broken(
    "lets a slice be drawn from again and again",
    "of parallel calls exactly those that fit draw from a slice, and siblings cannot starve it",
    (inner) => ({
      async reserve({ drawFrom, ...request }) {
        const answer = await inner.reserve(request);
        if (answer.kind !== "short" || drawFrom === undefined) return answer;
        return inner.reserve({ ...request, ...each(() => ({ limit: Infinity }))(request) });
      },
    }),
  ),
  asking(
    "forgets named ids",
    "a named id is used once, also after its close; others are known while they are open",
    () => ({ named: false }),
  ),
  asking("takes in everybody", "beyond maxAccounts a new account is refused, and no known one", () => ({
    maxAccounts: undefined,
  })),
  asking("always takes what it can get", "a call that takes `want` or nothing gets `want` or nothing", () => ({
    take: "largest",
  })),
  asking("never takes less", "a call that takes the largest gets the largest n that fits, at most `want`", () => ({
    take: "want",
  })),
];

function withoutDrawn(hold: Hold): Hold {
  const { drawn: _, ...rest } = hold;
  return rest;
}
