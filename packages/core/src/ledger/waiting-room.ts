import type { Clock } from "../clock.js";
import type { Ledger, Meter } from "./ledger.js";

/** Room made by other processes, and leases that end, are noticed at this pace (ms). */
const POLL_MS = 200;

/** Noted meters at most; then all are forgotten, and who began before tries once more than needed. */
const MAX_LOG = 4_096;

/** Why a wait ended. */
export type Wake = "room" | "timeout" | "aborted";

/**
 * Where calls wait for the holds of others. A call queues on its first short meter, in order of arrival over all meters;
 * calls that claim nothing there pass. One room per ledger, shared by all engines on it.
 */
export class WaitingRoom {
  static readonly #rooms = new WeakMap<Ledger, WaitingRoom>();

  static of(ledger: Ledger, clock: Clock): WaitingRoom {
    let room = WaitingRoom.#rooms.get(ledger);
    if (room === undefined) WaitingRoom.#rooms.set(ledger, (room = new WaitingRoom(clock)));
    return room;
  }

  readonly #clock: Clock;
  readonly #queues = new Map<string, Place[]>();
  #tickets = 0;
  /** Meters freed while somebody waits for a ledger's answer, oldest first; `#logStart` were there before. */
  #log: string[] = [];
  #logStart = 0;
  #watchers = 0;
  #waiting = 0;
  #isPolling = false;

  private constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls that have a place. */
  get size(): number {
    return this.#waiting;
  }

  /** Begins to note which meters are freed, until `unwatch`; the mark is for `freedSince`. */
  watch(): number {
    this.#watchers++;
    return this.#logStart + this.#log.length;
  }

  unwatch(): void {
    if (--this.#watchers > 0 || this.#log.length === 0) return;
    this.#logStart += this.#log.length;
    this.#log = [];
  }

  /** Whether holds on the meter came back since the mark: a call that asked before has missed them. */
  freedSince(mark: number, meter: Meter): boolean {
    return mark < this.#logStart || this.#log.includes(keyOf(meter), mark - this.#logStart);
  }

  /** The first of these meters on which a call with an earlier ticket waits. */
  queueBefore(meters: Iterable<Meter>, place: Place | undefined): Meter | undefined {
    if (this.#queues.size === 0) return undefined;
    for (const meter of meters) {
      const head = this.#queues.get(keyOf(meter))?.[0];
      if (head !== undefined && head !== place && (place === undefined || head.ticket < place.ticket)) return meter;
    }
    return undefined;
  }

  /** A place in the order of arrival; it must be left in every case. */
  enter(): Place {
    this.#waiting++;
    return new Place(++this.#tickets, this);
  }

  /** Holds on these meters came back. */
  freed(meters: readonly Meter[]): void {
    if (this.#watchers > 0) this.#note(meters);
    if (this.#queues.size === 0) return;
    for (const meter of meters) this.#queues.get(keyOf(meter))?.[0]?.wake("room");
  }

  /** @internal */
  wait(place: Place, meter: Meter, ms: number, signal: AbortSignal | undefined): Promise<Wake> {
    // A signal that fired while the call was busy trying will not fire again.
    if (signal?.aborted) return Promise.resolve("aborted");
    const key = keyOf(meter);
    if (place.key !== key) {
      this.#dequeue(place);
      const queue = this.#queues.get(key) ?? [];
      const index = queue.findIndex((other) => other.ticket > place.ticket);
      queue.splice(index === -1 ? queue.length : index, 0, place);
      this.#queues.set(key, queue);
      place.key = key;
    }
    this.#poll();
    return new Promise((resolve) => {
      const onAbort = () => place.wake("aborted");
      const cancel = this.#clock.after(ms, () => place.wake("timeout"), { hold: true });
      signal?.addEventListener("abort", onAbort, { once: true });
      place.sleep((wake) => {
        cancel();
        signal?.removeEventListener("abort", onAbort);
        resolve(wake);
      });
    });
  }

  /** @internal */
  leave(place: Place): void {
    this.#waiting--;
    this.#dequeue(place);
  }

  #note(meters: readonly Meter[]): void {
    for (const meter of meters) this.#log.push(keyOf(meter));
    if (this.#log.length <= MAX_LOG) return;
    this.#logStart += this.#log.length;
    this.#log = [];
  }

  /** The next in line may fit now: whoever stood before is gone. */
  #dequeue(place: Place): void {
    if (place.key === undefined) return;
    const queue = this.#queues.get(place.key) ?? [];
    const index = queue.indexOf(place);
    if (index >= 0) queue.splice(index, 1);
    if (queue.length === 0) this.#queues.delete(place.key);
    else if (index === 0) queue[0]!.wake("room");
    place.key = undefined;
  }

  #poll(): void {
    if (this.#isPolling) return;
    this.#isPolling = true;
    this.#clock.after(POLL_MS, () => {
      this.#isPolling = false;
      if (this.#queues.size === 0) return;
      for (const queue of this.#queues.values()) queue[0]!.wake("room");
      this.#poll();
    });
  }
}

/** One waiting call's place in line. */
export class Place {
  readonly ticket: number;
  readonly #room: WaitingRoom;
  /** @internal The queue it stands in. */
  key: string | undefined;
  #resolve: ((wake: Wake) => void) | undefined;
  /** Woken while it was busy trying: it must try again before it sleeps. */
  #missed = false;

  /** @internal */
  constructor(ticket: number, room: WaitingRoom) {
    this.ticket = ticket;
    this.#room = room;
  }

  /** Waits, keeping the order of arrival, until a hold on the meter comes back, `ms` are over or the call is aborted. */
  wait(meter: Meter, ms: number, signal: AbortSignal | undefined): Promise<Wake> {
    return this.#room.wait(this, meter, ms, signal);
  }

  leave(): void {
    this.#room.leave(this);
  }

  /** @internal */
  sleep(resolve: (wake: Wake) => void): void {
    this.#resolve = resolve;
    if (!this.#missed) return;
    this.#missed = false;
    this.wake("room");
  }

  /** @internal */
  wake(wake: Wake): void {
    const resolve = this.#resolve;
    this.#resolve = undefined;
    if (resolve !== undefined) resolve(wake);
    else if (wake === "room") this.#missed = true;
  }
}

function keyOf({ account, series }: Meter): string {
  return `${account} ${series}`;
}
