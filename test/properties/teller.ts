import type { Hold, Ledger, MeterClaim, Reserved } from "@driftlock/core";
import { requestOf } from "@driftlock/core/testing";
import { claimsOf, meters, type Operation } from "./story.js";

export const views = meters.map(({ meter }) => meter);

/** Tells a story to a ledger, and remembers the calls it held. */
export class Teller {
  readonly ledger: Ledger;
  readonly holds: Hold[] = [];
  #calls = 0;

  constructor(ledger: Ledger) {
    this.ledger = ledger;
  }

  /** What the ledger answers. `holds`: the calls to pick from. */
  async tell(operation: Operation, holds: readonly Hold[] = this.holds): Promise<unknown> {
    const { ledger } = this;
    switch (operation.kind) {
      case "reserve": {
        const drawFrom = operation.slice === undefined ? undefined : picked(holds, operation.slice);
        const more = { ...operation, drawFrom, id: `call-${this.#calls++}` };
        const answer = await ledger.reserve(requestOf(claimsOf(operation), more));
        if (answer.kind === "held") this.holds.push(answer.hold);
        return withoutEpoch(answer);
      }
      case "settle": {
        const hold = picked(holds, operation.which);
        return hold && ledger.settle(hold, billOf(hold, operation), views);
      }
      case "release": {
        const hold = picked(holds, operation.which);
        return hold && ledger.release(hold, views);
      }
      case "renew":
        return ledger.renew(allPicked(holds, operation.which), operation.ms);
      case "check":
        return ledger.check(claimsOf(operation), { floor: 1, want: 1 });
      case "amend": {
        const once = operation.once === undefined ? undefined : `once-${operation.once}`;
        return ledger.amend("workspace", { addLimit: operation.addLimit }, once);
      }
      case "tick":
        return undefined;
    }
  }
}

/** The call an operation is about; undefined when there is none yet. */
export function picked(holds: readonly Hold[], which: number): Hold | undefined {
  return holds.length === 0 ? undefined : holds[which % holds.length];
}

export function allPicked(holds: readonly Hold[], which: readonly number[]): Hold[] {
  return which.flatMap((each) => picked(holds, each) ?? []);
}

/** A bill of `share` percent of what was held: up to 100 it is within the bound, above it an overrun. */
export function billOf(hold: Hold, { share, known }: { share: number; known: boolean }) {
  const used = (measure: string) => {
    const held = hold.amounts.filter((_, i) => hold.meters[i]!.measure === measure);
    return held.length === 0 ? 0 : Math.floor((Math.min(...held) * share) / 100);
  };
  return { usd: used("usd"), tokens: used("tokens"), known };
}

/** The n a ledger must grant by what it shows, and the claims without room; `undefined` when it must refuse. */
export function expectedOf(
  { on, floor, want, take, ...size }: Extract<Operation, { kind: "reserve" }>,
  readings: readonly { settled: number; held: number }[],
): { n: number | undefined; short: number[] } {
  const claims = claimsOf({ on, ...size });
  const fits = (claim: MeterClaim, i: number, n: number) => {
    const { settled, held } = readings[on[i]!]!;
    const limit = claim.limit as number;
    return settled < limit && settled + held + claim.fixed + claim.perToken * n <= limit;
  };
  const least = take === "want" ? want : floor;
  let n = want;
  while (n >= least && !claims.every((claim, i) => fits(claim, i, n))) n--;
  const short = claims.flatMap((claim, i) => (fits(claim, i, least) ? [] : [i]));
  return { n: n >= least ? n : undefined, short };
}

/** Each ledger has an epoch of its own. */
function withoutEpoch(answer: Reserved): Reserved {
  return answer.kind === "held" ? { ...answer, hold: { ...answer.hold, epoch: "" } } : answer;
}
