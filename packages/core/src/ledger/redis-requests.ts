import { PICO_PER_NANO } from "../domain/money.js";
import type { AccountPatch, Actual, Hold, Meter, MeterClaim, ReserveRequest } from "./ledger.js";
import { FIELD, NOTE } from "./redis-answers.js";
import type { RedisLife } from "./redis-keys.js";
import type { RedisSheet } from "./redis-sheet.js";
import { placeIn } from "./slice.js";

/** What an operation tells its script, from the 7th place on. */
export type Told = readonly unknown[];

/** Changes remembered by their id, the latest ones. */
const MAX_ONCE_IDS = 1_000;

/** What a reserve tells its script. `until`: the server's time after which nothing may be held any more. */
export function demandOf(sheet: RedisSheet, life: RedisLife, request: ReserveRequest, until: number | undefined): Told {
  const { claims, lease, take, named, attempt, maxAccounts, drawFrom, seen = [] } = request;
  const told = claimsOf(sheet, life, claims, request, drawFrom);
  const isLargest = take === "largest";
  const versions = seen.map(({ account, version }) => [sheet.place(account), version]);
  return [
    ...told,
    isLargest,
    lease.ms,
    chargesOf(lease),
    named === true,
    until ?? false,
    maxAccounts ?? false,
    versions,
    attempt ?? false,
  ];
}

/** Claims as ROOM reads them (redis-lua.ts), and the first claim of each series. */
export function claimsOf(
  sheet: RedisSheet,
  life: RedisLife,
  claims: readonly MeterClaim[],
  { floor, want }: { readonly floor: number; readonly want: number },
  drawFrom: Hold | undefined,
): Told {
  const first: number[] = [];
  const series = claims.map(({ meter }, i) => {
    const at = sheet.meter(meter);
    if (first.length < at) first.push(i + 1);
    return at;
  });
  const written = claims.map((claim, i) => claimOn(sheet, series[i]!, claim));
  const slice = drawFrom?.epoch === life.epoch && sheet.merged.map((meter) => placeIn(drawFrom, meter) + 1);
  return [written, want, floor, slice, first];
}

function claimOn(sheet: RedisSheet, series: number, claim: MeterClaim): Told {
  const { meter, fixed, perToken, scale, shadow } = claim;
  // JSON has no NaN and no infinity: a claim that cannot be counted fits nowhere.
  const isSound = Number.isFinite(fixed + perToken) && (claim.limit === "stored" || claim.limit > -Infinity);
  const limit = isSound ? claim.limit : -1;
  const most = limit === "stored" || (limit === Infinity ? false : limit);
  const amount = [series, most, isSound ? fixed : 0, isSound ? perToken : 0];
  const window = sheet.windowOn(series, meter);
  const isPlain = window === undefined && limit !== "stored" && !shadow;
  if (isPlain && scale === (meter.measure === "usd" ? PICO_PER_NANO : 1)) return amount;
  const [kind, size] = window ?? sheet.ownWindow(series);
  return [...amount, kind, size, scale, shadow ? 1 : 0, limit === "stored" ? sheet.field(meter, "l") : 0];
}

/** What a close tells its script; without `actual` it is a release. */
export function closeOf(
  sheet: RedisSheet,
  life: RedisLife,
  hold: Hold,
  actual: Actual | undefined,
  views: readonly Meter[],
): Told {
  // The hold's own series are the first ones.
  for (const meter of hold.meters) sheet.meter(meter);
  const { epoch, amounts, expiresAt, named, drawn, attempt } = hold;
  return [
    ...viewsOf(sheet, views),
    amounts,
    expiresAt,
    chargesOf(hold),
    named === true,
    epoch === life.epoch,
    epoch === "",
    actual !== undefined,
    actual?.usd ?? 0,
    actual?.tokens ?? 0,
    actual?.known ?? false,
    drawn !== undefined && drawn.at.map((at) => at + 1),
    drawn !== undefined && drawn.amounts,
    attempt ?? false,
  ];
}

export function renewalOf(sheet: RedisSheet, holds: readonly Hold[], ms: number): Told {
  return [holds.map(({ meters }) => meters.map((meter) => sheet.meter(meter))), ms];
}

export function viewsOf(sheet: RedisSheet, meters: readonly Meter[]): Told {
  const series = meters.map((meter) => sheet.meter(meter));
  return [meters.map((meter, i) => [series[i]!, ...(sheet.windowOn(series[i]!, meter) ?? [])])];
}

export function amendmentOf(sheet: RedisSheet, account: string, patch: AccountPatch, onceId: string | undefined): Told {
  sheet.place(account);
  const { addLimit = 0, notes = {} } = patch;
  const fields: string[] = [];
  const removed: string[] = [];
  for (const name of ["status", "by", "reason"] as const) {
    const value = patch[name];
    if (value !== undefined) fields.push(FIELD[name], wellFormed(value));
  }
  for (const [name, note] of Object.entries(notes)) {
    if (note === null) removed.push(NOTE + wellFormed(name));
    else fields.push(NOTE + wellFormed(name), wellFormed(note));
  }
  const changes = addLimit !== 0 || patch.notes !== undefined || fields.length > 0;
  const once = onceId !== undefined && wellFormed(onceId);
  return [changes, addLimit, fields, removed, once, MAX_ONCE_IDS];
}

/** Half a character, as cut texts end with: the JSON reader of Redis takes none. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

function chargesOf({ onExpiry }: { readonly onExpiry: "charge" | "release" }): 0 | 1 {
  return onExpiry === "charge" ? 1 : 0;
}
