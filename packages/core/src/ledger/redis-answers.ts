import { amountOf, holdOf } from "./hold.js";
import type {
  AccountState,
  Closed,
  Hold,
  Meter,
  MeterClaim,
  MeterReading,
  Reserved,
  ReserveRequest,
  Shortage,
} from "./ledger.js";
import type { RedisLife } from "./redis-keys.js";
import { placeIn } from "./slice.js";
import { leavesAt } from "./window.js";

/** What a script answers: what became of it, the server's time (ms), and more. */
export interface Reply {
  readonly status: string;
  readonly now: number;
  readonly rest: readonly unknown[];
}

/** Throws where no script can have answered that. `asked`: what it was told to answer, so that it is not another one's. */
export function replyFrom(answer: unknown, asked: string): Reply {
  const [status, now, told, ...rest] = list(answer);
  if (typeof status !== "string" || typeof now !== "number" || told !== asked) throw nonsense(answer);
  return { status, now, rest };
}

/** What became of a reserve in this life. */
export function reservedFrom({ status, now, rest }: Reply, { epoch }: RedisLife, request: ReserveRequest): Reserved {
  switch (status) {
    case "held": {
      const [n, shadowed, drawn] = rest;
      if (typeof n !== "number") throw nonsense(rest);
      const hold = withDrawn(holdOf(request, epoch, n, now), request.drawFrom, drawn);
      return { kind: "held", hold, n, shadowed: shortagesFrom(shadowed, request.claims, request, now) };
    }
    case "short":
      return { kind: "short", shortages: shortagesFrom(rest[0], request.claims, request, now) };
    case "stale":
      return {
        kind: "stale",
        states: rest.map((each) => {
          const [at, state] = list(each);
          const seen = request.seen?.[Number(at)];
          if (seen === undefined) throw nonsense(each);
          return { account: seen.account, state: stateFrom(state) };
        }),
      };
    case "duplicate":
    case "full":
    case "late":
      return { kind: status };
    default:
      throw nonsense(status);
  }
}

function withDrawn(hold: Hold, slice: Hold | undefined, drawn: unknown): Hold {
  if (slice === undefined || !Array.isArray(drawn)) return hold;
  const amounts = numbers(drawn);
  if (!amounts.some((amount) => amount > 0)) return hold;
  return { ...hold, drawn: { hold: slice.id, at: hold.meters.map((meter) => placeIn(slice, meter)), amounts } };
}

const outcomes = { settled: true, released: true, corrected: true, duplicate: true, orphan: true };

export function closedFrom({ status, rest }: Reply, views: readonly Meter[]): Closed {
  if (!Object.hasOwn(outcomes, status)) throw nonsense(status);
  return { outcome: status as Closed["outcome"], readings: readingsFrom(rest[0], views) };
}

export function renewedFrom({ rest }: Reply): readonly boolean[] {
  return numbers(rest[0]).map((isOpen) => isOpen === 1);
}

export function amendedFrom({ status, rest }: Reply): { applied: boolean; state: AccountState } {
  return { applied: status === "applied", state: stateFrom(rest[0]) };
}

/** [claim, settled, held, stored limit, the bucket that has to leave (−1: none)] each. */
export function shortagesFrom(
  answer: unknown,
  claims: readonly MeterClaim[],
  n: { readonly floor: number; readonly want: number },
  now: number,
): Shortage[] {
  return list(answer).map((each) => {
    const [at, settled, held, stored, bucket] = numbers(each);
    const claim = claims[at!];
    if (claim === undefined || bucket === undefined) throw nonsense(each);
    const leaves = bucket < 0 ? Infinity : leavesAt(claim.meter, bucket);
    return {
      claim: at!,
      limit: claim.limit === "stored" ? stored! : claim.limit,
      settled: settled!,
      held: held!,
      want: amountOf(claim, n.want),
      floor: amountOf(claim, n.floor),
      ...(leaves === Infinity ? {} : { retryAfterMs: leaves - now }),
    };
  });
}

/** Settled and held of each meter and, of lifetimes, count, mean and variance. */
export function readingsFrom(answer: unknown, meters: readonly Meter[]): MeterReading[] {
  const all = numbers(list(answer).map(Number));
  let at = 0;
  const next = () => {
    const value = all[at++];
    if (value === undefined) throw nonsense(answer);
    return value;
  };
  return meters.map(({ window }) => {
    const reading = { settled: next(), held: next() };
    if (window.kind !== "lifetime") return reading;
    const [count, mean, variance] = [next(), next(), next()];
    return count === 0 ? reading : { ...reading, count, mean, variance };
  });
}

/** Names and values of an account's fields, one after the other. */
function stateFrom(answer: unknown): AccountState {
  const fields = list(answer);
  const notes: Record<string, string> = {};
  const found: { status?: string; by?: string; reason?: string } = {};
  let version = 0;
  let limitDelta = 0;
  for (let at = 0; at < fields.length; at += 2) {
    const [name, value] = [String(fields[at]), String(fields[at + 1])];
    if (name === "v") version = Number(value);
    else if (name === "l") limitDelta = Number(value);
    else if (name.startsWith(NOTE)) notes[name.slice(NOTE.length)] = value;
    else if (Object.hasOwn(FIELD_OF, name)) found[FIELD_OF[name as keyof typeof FIELD_OF]] = value;
  }
  if (Number.isNaN(version + limitDelta)) throw nonsense(answer);
  return { version, limitDelta, notes, ...found };
}

/** How the fields of an account's state are called in its hash: two letters at most, unlike series. */
export const NOTE = "n:";
const FIELD_OF = { st: "status", by: "by", re: "reason" } as const;
export const FIELD = { status: "st", by: "by", reason: "re" } as const;

function numbers(answer: unknown): readonly number[] {
  const all = list(answer);
  for (const each of all) if (typeof each !== "number" || Number.isNaN(each)) throw nonsense(answer);
  return all as number[];
}

function list(answer: unknown): readonly unknown[] {
  if (!Array.isArray(answer)) throw nonsense(answer);
  return answer;
}

/** Answered, but not by the script that was asked. */
export class NonsenseError extends Error {}

export function nonsense(answer: unknown): NonsenseError {
  const text = JSON.stringify(answer)?.slice(0, 200);
  return new NonsenseError(`Redis answered ${text}, which is no answer to what it was asked`);
}
