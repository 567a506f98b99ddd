import type {
  AccountPatch,
  AccountState,
  Actual,
  Closed,
  Drawn,
  Hold,
  Meter,
  MeterClaim,
  MeterReading,
  Reserved,
  ReserveRequest,
  SeenState,
  Shortage,
} from "./ledger.js";
import { holdOf, isCharged, usedOn } from "./hold.js";
import { findSeries, roomFor, shortageOf, shortagesOf } from "./room.js";
import {
  average,
  charge,
  endOf,
  hold as holdOn,
  newSeries,
  readingOf,
  seriesIn,
  sweep,
  unhold,
  type Series,
} from "./series.js";
import { REMEMBER_MS, type HoldRecord, type Shelf } from "./shelf.js";
import { drawnFrom, type Slice } from "./slice.js";
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
      const states = this.#changed(seen);
      if (states.length > 0) return { kind: "stale", states };
    }
    const known = this.#known(request.id, now);
    if (known !== undefined) return { kind: "duplicate" };

    const slice = request.drawFrom === undefined ? undefined : this.#slice(request.drawFrom, now);
    let n = want;
    let refused = false;
    let shadowed: readonly Shortage[] = none;
    for (let i = 0; i < claims.length; i++) {
      const claim = claims[i]!;
      if (claim.limit === Infinity) continue;
      const most = roomFor(this.#shelf, claim, want, slice, now);
      if (most >= want) continue;
      if (claim.shadow) shadowed = [...shadowed, shortageOf(this.#shelf, claims, i, request, slice, now)];
      else if (most < floor || request.take === "want") refused = true;
      else if (most < n) n = most;
    }
    if (refused) {
      const least = request.take === "want" ? want : floor;
      return {
        kind: "short",
        shortages: shortagesOf(this.#shelf, claims, request, least, slice, now).filter((s) => !claims[s.claim]!.shadow),
      };
    }
    if (request.maxAccounts !== undefined) {
      const fresh = this.#newAccounts(claims);
      if (fresh > 0 && fresh + this.#shelf.accountCount() > request.maxAccounts) return { kind: "full" };
    }
    return { kind: "held", hold: this.#hold(request, n, slice, now), n, shadowed };
  }

  check(
    claims: readonly MeterClaim[],
    n: { floor: number; want: number },
    drawFrom: Hold | undefined,
    now: number,
  ): readonly Shortage[] {
    const slice = drawFrom === undefined ? undefined : this.#slice(drawFrom, now);
    return shortagesOf(this.#shelf, claims, n, n.want, slice, now);
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

  /** The accounts whose state is another than the one somebody decided by. */
  #changed(seen: readonly SeenState[]): readonly { account: string; state: AccountState }[] {
    let changed: readonly { account: string; state: AccountState }[] = none;
    for (let i = 0; i < seen.length; i++) {
      const { account, version } = seen[i]!;
      const state = this.#shelf.account(account)?.state ?? untouched;
      if (state.version !== version) changed = [...changed, { account, state }];
    }
    return changed;
  }

  #newAccounts(claims: readonly MeterClaim[]): number {
    const fresh = new Set<string>();
    for (const { meter } of claims) if (this.#shelf.account(meter.account) === undefined) fresh.add(meter.account);
    return fresh.size;
  }

  /** All checks are done: from here on everything is written. */
  #hold(request: ReserveRequest, n: number, slice: Slice | undefined, now: number): Hold {
    const { claims, lease } = request;
    const made = holdOf(request, this.#shelf.epoch, n, now);
    const drawn = slice && drawnFrom(slice, made);
    if (slice !== undefined && drawn !== undefined) this.#move(slice.record, made, drawn, drawn.amounts, now);
    const hold = drawn === undefined ? made : { ...made, drawn };
    for (let i = 0; i < hold.meters.length; i++) {
      const meter = hold.meters[i]!;
      const series = this.#open(meter, now, hold.expiresAt);
      if (meter.measure === "calls") charge(series, meter, hold.amounts[i]!, now, now);
      else holdOn(series, hold.amounts[i]!, hold.expiresAt, isCharged(meter, lease));
    }
    if (claims.length > 0 || request.named) {
      const { amounts, expiresAt, onExpiry, attempt } = hold;
      const record = { state: "open", amounts, expiresAt, onExpiry } as const;
      this.#shelf.putHold(hold.id, attempt === undefined ? record : { ...record, attempt });
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
      if (inTime && unhold(series, amount, record.expiresAt, charged)) {
        if (used > 0) charge(series, meter, used, now, now);
      } else {
        const difference = used - (charged ? amount : 0);
        if (difference !== 0) charge(series, meter, difference, difference < 0 ? end : now, now);
      }
      if (actual.known) this.#average(series, meter, used);
    }
    if (inTime && hold.drawn !== undefined) this.#putBack(hold, record, hold.drawn, actual, now);
    return inTime;
  }

  /** What of a slice is there to be drawn; undefined when it is unknown, closed or over. */
  #slice(hold: Hold, now: number): Slice | undefined {
    const record = hold.epoch === this.#shelf.epoch ? this.#openSlice(hold.id, now) : undefined;
    return record && { hold, record };
  }

  #openSlice(id: string, now: number): HoldRecord | undefined {
    const record = this.#shelf.hold(id);
    return record?.state === "open" && now < endOf(record.expiresAt) ? record : undefined;
  }

  /** Takes amounts out of a slice for a call; negative ones put them back. */
  #move(slice: HoldRecord, { meters }: Hold, drawn: Drawn, amounts: readonly number[], now: number): void {
    const left = Array.from(slice.amounts);
    for (let i = 0; i < meters.length; i++) {
      const amount = amounts[i]!;
      if (amount === 0) continue;
      left[drawn.at[i]!]! -= amount;
      const meter = meters[i]!;
      const series = this.#open(meter, now, slice.expiresAt);
      if (amount > 0) unhold(series, amount, slice.expiresAt, isCharged(meter, slice));
      else holdOn(series, -amount, slice.expiresAt, isCharged(meter, slice));
    }
    this.#shelf.putHold(drawn.hold, { ...slice, amounts: left });
  }

  /** What a call did not use of its slice goes back there. Of a slice that was drawn from itself, neither what its calls took. */
  #putBack(hold: Hold, record: HoldRecord, drawn: Drawn, actual: Actual, now: number): void {
    const slice = this.#openSlice(drawn.hold, now);
    if (slice === undefined) return;
    const back = hold.meters.map((meter, i) => {
      const used = usedOn(meter, actual) + hold.amounts[i]! - record.amounts[i]!;
      return -Math.max(0, drawn.amounts[i]! - used);
    });
    if (back.some((amount) => amount < 0)) this.#move(slice, hold, drawn, back, now);
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

  /** A hold of another life, ledger or caller whose id an open call of this one happens to have: that call stays open. */
  #isForeign({ epoch, attempt }: Hold, record: HoldRecord | undefined): boolean {
    if (record?.state !== "open") return false;
    return epoch === "" ? record.attempt !== attempt : epoch !== this.#shelf.epoch;
  }

  #remember(hold: Hold, record: HoldRecord | undefined, state: HoldRecord["state"], now: number): void {
    const { amounts, expiresAt, onExpiry } = record ?? hold;
    this.#shelf.putHold(hold.id, { state, amounts, expiresAt: Math.max(expiresAt, now), onExpiry });
  }

  #find(meter: Meter): Series | undefined {
    return findSeries(this.#shelf, meter);
  }

  /** The meter's series, swept and about to be changed. What is held until `until` is stamped then. */
  #open(meter: Meter, now: number, until = now): Series {
    const account = this.#shelf.change(meter.account);
    const idleAt = endOf(until) + keptMs(meter);
    if (idleAt > account.idleAt) account.idleAt = idleAt;
    let series = seriesIn(account.s, meter.series);
    if (series === undefined) account.s = account.s.concat([(series = newSeries(meter.series))]);
    else sweep(series, meter, now);
    return series;
  }
}

const none: readonly never[] = [];
