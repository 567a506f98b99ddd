import type {
  AccountPatch,
  AccountState,
  Actual,
  Closed,
  Hold,
  Meter,
  MeterClaim,
  MeterReading,
  Reserved,
  ReserveRequest,
  Shortage,
} from "./ledger.js";
import { REMEMBER_MS, type Account, type HoldRecord, type Shelf } from "./shelf.js";
import {
  average,
  charge,
  endOf,
  hold as holdOn,
  newSeries,
  readingOf,
  retryAfter,
  settledIn,
  sweep,
  unhold,
  type Series,
} from "./series.js";
import { keptMs } from "./window.js";

/** The version of an account that was never amended. */
const untouched: AccountState = Object.freeze({ version: 0, limitDelta: 0, notes: Object.freeze({}) });

const MAX_ONCE_IDS = 1_000;
const nothing: Actual = { usd: 0, tokens: 0, known: false };

/**
 * The ledger's arithmetic: every operation as one synchronous step on a shelf. The memory and the Keyv ledger are this book
 * on two shelves, so they cannot answer differently.
 */
export class Book {
  readonly #shelf: Shelf;

  constructor(shelf: Shelf) {
    this.#shelf = shelf;
  }

  reserve(request: ReserveRequest, now: number): Reserved {
    const { claims, want, floor, seen } = request;
    if (request.notAfter !== undefined && now > request.notAfter) return { kind: "late" };
    if (seen !== undefined) {
      const state = this.#shelf.account(seen.account)?.state ?? untouched;
      if (state.version !== seen.version) return { kind: "stale", state };
    }
    const known = this.#known(request.id, now);
    if (known !== undefined) return { kind: "duplicate" };

    let n = want;
    let refused = false;
    let shadowed: readonly Shortage[] = none;
    for (let i = 0; i < claims.length; i++) {
      const claim = claims[i]!;
      if (claim.limit === Infinity) continue;
      const most = this.#room(claim, want, now);
      if (most >= want) continue;
      if (claim.shadow) shadowed = [...shadowed, this.#shortage(claims, i, request, now)];
      else if (most < floor || request.take === "want") refused = true;
      else if (most < n) n = most;
    }
    if (refused) {
      const least = request.take === "want" ? want : floor;
      return {
        kind: "short",
        shortages: this.#shortages(claims, request, least, now).filter((s) => !claims[s.claim]!.shadow),
      };
    }
    if (request.maxAccounts !== undefined) {
      const fresh = this.#newAccounts(claims);
      if (fresh > 0 && fresh + this.#shelf.accountCount() > request.maxAccounts) return { kind: "full" };
    }
    return { kind: "held", hold: this.#hold(request, n, now), n, shadowed };
  }

  check(claims: readonly MeterClaim[], n: { floor: number; want: number }, now: number): readonly Shortage[] {
    return this.#shortages(claims, n, n.want, now);
  }

  settle(hold: Hold, actual: Actual, views: readonly Meter[] | undefined, now: number): Closed {
    const record = this.#known(hold.id, now);
    let outcome: Closed["outcome"];
    if (this.#isForeign(hold, record)) {
      this.#charge(hold, actual, now);
      return { outcome: "orphan", readings: this.read(views, now) };
    }
    if (record === undefined) {
      if (this.#isClosed(hold, now)) return { outcome: "duplicate", readings: this.read(views, now) };
      outcome = "orphan";
      this.#charge(hold, actual, now);
    } else if (record.state === "open") {
      outcome = this.#end(hold, record, actual, now) ? "settled" : "corrected";
    } else if (record.state === "settled") {
      return { outcome: "duplicate", readings: this.read(views, now) };
    } else {
      outcome = record.state === "released" ? "corrected" : "orphan";
      this.#charge(hold, actual, now);
    }
    // Renewed past what `hold` itself says, and not charged by then: without a record the same settle would look like an orphan.
    const outlived = hold.onExpiry === "release" && now >= hold.expiresAt;
    if (outcome === "settled" && !hold.named && !outlived) this.#shelf.dropHold(hold.id);
    else this.#remember(hold, record, "settled", now);
    return { outcome, readings: this.read(views, now) };
  }

  release(hold: Hold, views: readonly Meter[] | undefined, now: number): Closed {
    const record = this.#known(hold.id, now);
    let outcome: Closed["outcome"] = "duplicate";
    if (this.#isForeign(hold, record)) return { outcome, readings: this.read(views, now) };
    if (record === undefined) {
      if (!this.#isClosed(hold, now)) {
        this.#remember(hold, undefined, "refused", now);
        outcome = "released";
      }
    } else if (record.state === "open") {
      outcome = this.#end(hold, record, nothing, now) ? "released" : "corrected";
      this.#remember(hold, record, "released", now);
    }
    return { outcome, readings: this.read(views, now) };
  }

  renew(holds: readonly Hold[], ms: number, now: number): boolean[] {
    return holds.map((hold) => {
      const record = this.#shelf.hold(hold.id);
      if (record?.state !== "open" || now >= endOf(record.expiresAt)) return false;
      const expiresAt = now + ms;
      hold.meters.forEach((meter, i) => {
        if (meter.measure === "calls") return;
        const series = this.#open(meter, now, expiresAt);
        const charged = isCharged(meter, record);
        unhold(series, record.amounts[i]!, record.expiresAt, charged);
        holdOn(series, record.amounts[i]!, expiresAt, charged);
      });
      this.#shelf.dropHold(hold.id);
      this.#shelf.putHold(hold.id, { ...record, expiresAt });
      return true;
    });
  }

  read(meters: readonly Meter[] | undefined, now: number): readonly MeterReading[] {
    return meters === undefined ? none : meters.map((meter) => readingOf(this.#find(meter), meter, now));
  }

  amend(key: string, patch: AccountPatch, onceId: string | undefined): { applied: boolean; state: AccountState } {
    const account = this.#shelf.account(key);
    const state = account?.state ?? untouched;
    const { addLimit = 0, notes, ...fields } = patch;
    const empty = addLimit === 0 && notes === undefined && Object.values(fields).every((value) => value === undefined);
    if (empty || (onceId !== undefined && account?.once?.includes(onceId))) return { applied: false, state };
    const merged = { ...state.notes };
    for (const [name, note] of Object.entries(notes ?? {})) {
      if (note === null) delete merged[name];
      else merged[name] = note;
    }
    const { status = state.status, by = state.by, reason = state.reason } = fields;
    const next: AccountState = {
      version: state.version + 1,
      limitDelta: state.limitDelta + addLimit,
      notes: merged,
      ...(status === undefined ? {} : { status }),
      ...(by === undefined ? {} : { by }),
      ...(reason === undefined ? {} : { reason }),
    };
    const changed = this.#shelf.change(key);
    changed.state = next;
    changed.idleAt = Infinity;
    if (onceId !== undefined) changed.once = [...(changed.once ?? []), onceId].slice(-MAX_ONCE_IDS);
    return { applied: true, state: next };
  }

  /** The largest n a claim has room for, at most `want`; −1 when not even its fixed part fits. */
  #room(claim: MeterClaim, want: number, now: number): number {
    const { meter, fixed, perToken, scale } = claim;
    const series = this.#find(meter);
    let settled = 0;
    let held = 0;
    if (series !== undefined) {
      sweep(series, meter, now);
      settled = settledIn(series, meter, now);
      held = series.h;
    }
    const limit = this.#limit(claim);
    const available = limit - settled - held;
    // Every test is the one that fails for NaN.
    if (!(settled < limit && available >= 0)) return -1;
    if (amountOf(claim, want) <= available) return want;
    let n = perToken === 0 ? -1 : Math.floor((available * scale - fixed) / perToken);
    while (n >= 0 && amountOf(claim, n) > available) n--;
    return n >= 0 ? Math.min(n, want) : -1;
  }

  #limit({ limit, meter }: MeterClaim): number {
    return limit === "stored" ? (this.#shelf.account(meter.account)?.state?.limitDelta ?? 0) : limit;
  }

  /** The claims without room for `least`. */
  #shortages(
    claims: readonly MeterClaim[],
    n: { floor: number; want: number },
    least: number,
    now: number,
  ): Shortage[] {
    const shortages: Shortage[] = [];
    for (let i = 0; i < claims.length; i++) {
      const claim = claims[i]!;
      if (claim.limit !== Infinity && this.#room(claim, n.want, now) < least)
        shortages.push(this.#shortage(claims, i, n, now));
    }
    return shortages;
  }

  #shortage(claims: readonly MeterClaim[], index: number, n: { floor: number; want: number }, now: number): Shortage {
    const claim = claims[index]!;
    const series = this.#find(claim.meter);
    const { settled, held } = readingOf(series, claim.meter, now);
    const limit = this.#limit(claim);
    const want = amountOf(claim, n.want);
    const retryAfterMs = series && retryAfter(series, claim.meter, want, limit, now);
    const shortage = { claim: index, limit, settled, held, want, floor: amountOf(claim, n.floor) };
    return retryAfterMs === undefined ? shortage : { ...shortage, retryAfterMs };
  }

  #newAccounts(claims: readonly MeterClaim[]): number {
    const fresh = new Set<string>();
    for (const { meter } of claims) if (this.#shelf.account(meter.account) === undefined) fresh.add(meter.account);
    return fresh.size;
  }

  /** All checks are done: from here on everything is written. */
  #hold(request: ReserveRequest, n: number, now: number): Hold {
    const { claims, lease } = request;
    const hold = holdOf(request, this.#shelf.epoch, n, now);
    for (let i = 0; i < hold.meters.length; i++) {
      const meter = hold.meters[i]!;
      const series = this.#open(meter, now, hold.expiresAt);
      if (meter.measure === "calls") charge(series, meter, hold.amounts[i]!, now, now);
      else holdOn(series, hold.amounts[i]!, hold.expiresAt, isCharged(meter, lease));
    }
    if (claims.length > 0 || request.named) {
      const { amounts, expiresAt, onExpiry } = hold;
      this.#shelf.putHold(hold.id, { state: "open", amounts, expiresAt, onExpiry });
    }
    return hold;
  }

  /** Closes an open record with what was used; false when its lease was over and the charge had to be corrected. */
  #end(hold: Hold, record: HoldRecord, actual: Actual, now: number): boolean {
    const end = endOf(record.expiresAt);
    const inTime = now < end;
    for (let i = 0; i < hold.meters.length; i++) {
      const meter = hold.meters[i]!;
      if (meter.measure === "calls") continue;
      const series = this.#open(meter, now);
      const amount = record.amounts[i]!;
      const charged = isCharged(meter, record);
      const used = usedOn(meter, actual);
      if (inTime) {
        unhold(series, amount, record.expiresAt, charged);
        if (used > 0) charge(series, meter, used, now, now);
      } else {
        const difference = used - (charged ? amount : 0);
        if (difference !== 0) charge(series, meter, difference, difference < 0 ? end : now, now);
      }
      if (actual.known) this.#average(series, meter, used);
    }
    return inTime;
  }

  /** Counts what was used without any hold to return. */
  #charge(hold: Hold, actual: Actual, now: number): void {
    const unheld = hold.epoch !== this.#shelf.epoch;
    for (let i = 0; i < hold.meters.length; i++) {
      const meter = hold.meters[i]!;
      const used = meter.measure === "calls" ? (unheld ? hold.amounts[i]! : 0) : usedOn(meter, actual);
      if (used === 0 && meter.measure !== "usd") continue;
      const series = this.#open(meter, now);
      if (used > 0) charge(series, meter, used, now, now);
      if (actual.known) this.#average(series, meter, used);
    }
  }

  #average(series: Series, meter: Meter, used: number): void {
    if (meter.measure === "usd" && meter.window.kind === "lifetime") average(series, used);
  }

  /** What is remembered of an id: as long as every ledger remembers it, however late a shelf forgets. */
  #known(id: string, now: number): HoldRecord | undefined {
    const record = this.#shelf.hold(id);
    return record !== undefined && now < record.expiresAt + REMEMBER_MS ? record : undefined;
  }

  /** A hold of this life that is no longer known was closed, unless its lease released it so long ago that it was forgotten. */
  #isClosed(hold: Hold, now: number): boolean {
    if (hold.epoch !== this.#shelf.epoch) return false;
    return hold.onExpiry === "charge" || now < hold.expiresAt + REMEMBER_MS;
  }

  /** A hold of another life or ledger whose id an open call of this one happens to have: that call stays open. */
  #isForeign({ epoch }: Hold, record: HoldRecord | undefined): boolean {
    return record?.state === "open" && epoch !== "" && epoch !== this.#shelf.epoch;
  }

  #remember(hold: Hold, record: HoldRecord | undefined, state: HoldRecord["state"], now: number): void {
    const { amounts, expiresAt, onExpiry } = record ?? hold;
    this.#shelf.putHold(hold.id, { state, amounts, expiresAt: Math.max(expiresAt, now), onExpiry });
  }

  #find(meter: Meter): Series | undefined {
    return seriesIn(this.#shelf.account(meter.account), meter.series);
  }

  /** The meter's series, swept and about to be changed. What is held until `until` is stamped then. */
  #open(meter: Meter, now: number, until = now): Series {
    const account = this.#shelf.change(meter.account);
    const idleAt = endOf(until) + keptMs(meter);
    if (idleAt > account.idleAt) account.idleAt = idleAt;
    let series = seriesIn(account, meter.series);
    if (series === undefined) account.s = account.s.concat([(series = newSeries(meter.series))]);
    else sweep(series, meter, now);
    return series;
  }
}

const none: readonly never[] = [];

/** The hold a granted request gives, or one made without the ledger (epoch ""). Claims on one series are held once. */
export function holdOf(request: ReserveRequest, epoch: string, n: number, now: number): Hold {
  const meters: Meter[] = [];
  const amounts: number[] = [];
  for (const claim of request.claims) {
    const { meter } = claim;
    let at = 0;
    while (at < meters.length && (meters[at]!.series !== meter.series || meters[at]!.account !== meter.account)) at++;
    if (at === meters.length) {
      meters.push(meter);
      amounts.push(amountOf(claim, n));
    } else if (keptMs(meter) > keptMs(meters[at]!)) {
      // Several windows on one series: the longest decides how far back it is kept.
      meters[at] = meter;
    }
  }
  const { id, lease, named } = request;
  const hold = { id, epoch, meters, amounts, expiresAt: now + lease.ms, onExpiry: lease.onExpiry };
  return named ? { ...hold, named } : hold;
}

function amountOf({ fixed, perToken, scale }: MeterClaim, n: number): number {
  return Math.ceil((fixed + perToken * n) / scale);
}

function seriesIn(account: Account | undefined, id: string): Series | undefined {
  if (account === undefined) return undefined;
  const { s } = account;
  for (let i = 0; i < s.length; i++) if (s[i]!.id === id) return s[i];
  return undefined;
}

/** In-flight always comes back at the end of the lease, or five crashes would shut a limit of five for ever. */
function isCharged(meter: Meter, { onExpiry }: { onExpiry: "charge" | "release" }): boolean {
  return onExpiry === "charge" && meter.measure !== "in-flight";
}

function usedOn(meter: Meter, actual: Actual): number {
  return meter.measure === "usd" ? actual.usd : meter.measure === "tokens" ? actual.tokens : 0;
}
