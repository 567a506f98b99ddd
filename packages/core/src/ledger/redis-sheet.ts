import type { Window } from "../domain/claim.js";
import { calendarOf } from "./calendar.js";
import type { Meter } from "./ledger.js";
import type { RedisKeys, RedisLife } from "./redis-keys.js";
import { KIND, MEASURE } from "./redis-lua.js";
import { keptMs } from "./window.js";

/** The instants (ms) whose local days a script may have to know. */
export interface Instants {
  readonly from: number;
  readonly to: number;
}

const CLOCK_MS = { minute: 60_000, hour: 3_600_000 } as const;

/** What a script is told: keys, and numbers in the order the scripts read them (redis-lua.ts). Indices begin at 1. */
export class RedisSheet {
  readonly #accounts: string[][] = [];
  readonly #meters: number[][] = [];
  readonly #zones: number[][] = [];
  readonly #keys: RedisKeys;
  readonly #life: RedisLife;
  readonly #instants: Instants;
  readonly #holds: string[];
  readonly #names: string[] = [];
  readonly #others: string[] = [];
  readonly #merged: Meter[] = [];
  readonly #timeZones: string[] = [];

  constructor(keys: RedisKeys, life: RedisLife, instants: Instants, holds: readonly string[]) {
    this.#keys = keys;
    this.#life = life;
    this.#instants = instants;
    this.#holds = holds.map((id) => keys.hold(life, id));
  }

  /** KEYS, once everything else has been written. */
  keys(): string[] {
    const keys = [this.#keys.head, ...this.#holds];
    for (const account of this.#names) keys.push(this.#keys.account(this.#life, account));
    for (const account of this.#others) keys.push(this.#keys.account(this.#life, account));
    keys.push(this.#keys.counts(this.#life));
    return keys;
  }

  /** The meters as they are, one per series. */
  get merged(): readonly Meter[] {
    return this.#merged;
  }

  /** ARGV[1]: what every script is told, and what this one is. */
  argument(now: number | undefined, told: readonly unknown[]): string {
    const common = [this.#life.head, now ?? false, this.#holds.length, this.#accounts, this.#meters, this.#zones];
    return JSON.stringify([...common, ...told]);
  }

  /** The series of a meter. Meters on one series are one: the longest window decides how far back it is kept. */
  meter(meter: Meter): number {
    const merged = this.#merged;
    for (let i = 0; i < merged.length; i++) {
      const other = merged[i]!;
      if (other.series !== meter.series || other.account !== meter.account) continue;
      if (keptMs(meter) > keptMs(other)) {
        merged[i] = meter;
        this.#meters[i] = this.#describe(meter, this.#meters[i]![0]!, this.#meters[i]![1]!);
      }
      return i + 1;
    }
    const account = this.#account(meter.account);
    const fields = this.#accounts[account - 1]!;
    merged.push(meter);
    this.#meters.push(this.#describe(meter, account, fields.push(meter.series)));
    return merged.length;
  }

  /** A window on a series that was written: its kind and size, or nothing when it is the series' own. */
  windowOn(series: number, { window }: Meter): readonly [kind: number, size: number] | undefined {
    const [ownKind, ownSize] = this.ownWindow(series);
    const [kind, size] = [kindOf(window), sizeOf(window)];
    return kind === ownKind && size === ownSize ? undefined : [kind, size];
  }

  ownWindow(series: number): readonly [kind: number, size: number] {
    const { window } = this.#merged[series - 1]!;
    return [kindOf(window), sizeOf(window)];
  }

  /** A further field of a meter's account. */
  field(meter: Meter, name: string): number {
    const fields = this.#accounts[this.#account(meter.account) - 1]!;
    const at = fields.indexOf(name);
    return at < 0 ? fields.push(name) : at + 1;
  }

  /** Where an account stands among the keys: behind all that have series, when it has none. To be asked after those. */
  place(account: string): number {
    const at = this.#names.indexOf(account);
    return at >= 0 ? at + 1 : this.#names.length + this.#others.push(account);
  }

  #account(account: string): number {
    const at = this.#names.indexOf(account);
    if (at >= 0) return at + 1;
    this.#accounts.push(["x"]);
    return this.#names.push(account);
  }

  #describe(meter: Meter, account: number, field: number): number[] {
    const { window, measure } = meter;
    const kept = keptMs(meter);
    const zone = this.#zone(meter);
    const written = [account, field, MEASURE[measure], kindOf(window), sizeOf(window), kept === Infinity ? -1 : kept];
    return zone === 0 ? written : [...written, zone];
  }

  #zone({ window, timeZone }: Meter): number {
    if (timeZone === "UTC" || kindOf(window) < KIND.days) return 0;
    const at = this.#timeZones.indexOf(timeZone);
    if (at >= 0) return at + 1;
    const { from, to } = this.#instants;
    const calendar = calendarOf(timeZone);
    const first = calendar.dayAt(from) - 1;
    const zone = [first];
    for (let day = first; day <= calendar.dayAt(to) + 2; day++) zone.push(calendar.startOf(day));
    this.#zones.push(zone);
    return this.#timeZones.push(timeZone);
  }
}

function kindOf(window: Window): number {
  switch (window.kind) {
    case "lifetime":
      return KIND.lifetime;
    case "sliding":
      return KIND.sliding;
    case "days":
      return KIND.days;
    case "calendar":
      switch (window.unit) {
        case "minute":
        case "hour":
          return KIND.clock;
        case "day":
          return KIND.days;
        case "week":
          return KIND.week;
        case "month":
          return KIND.month;
      }
  }
}

/** ms of clock and sliding windows, days of the others that have a length. */
function sizeOf(window: Window): number {
  switch (window.kind) {
    case "sliding":
      return window.ms;
    case "days":
      return window.days;
    case "calendar":
      return window.unit === "minute" || window.unit === "hour" ? CLOCK_MS[window.unit] : 1;
    case "lifetime":
      return 0;
  }
}
