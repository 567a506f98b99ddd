import type { Clock } from "../clock.js";
import type { LedgerGuard } from "../ledger/guard.js";
import type { Ledger } from "../ledger/ledger.js";
import type { Authorization } from "./authorization.js";
import type { Closable } from "./open-call.js";

/** Renews the leases of this process's open calls in one batch, and closes calls that nobody will close. */
export class OpenCalls {
  readonly #ledger: Ledger;
  readonly #guard: LedgerGuard;
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #maxCallMs: number;
  readonly #open = new Map<string, Authorization>();
  #stop: (() => void) | undefined;

  constructor(ledger: Ledger, guard: LedgerGuard, clock: Clock, leaseMs: number, maxCallMs: number) {
    this.#ledger = ledger;
    this.#guard = guard;
    this.#clock = clock;
    this.#leaseMs = leaseMs;
    this.#maxCallMs = maxCallMs;
  }

  add(auth: Authorization): void {
    this.#open.set(auth.id, auth);
    this.#stop ??= this.#clock.after(this.#leaseMs / 3, () => void this.#round());
  }

  delete(closed: Closable): void {
    this.#open.delete(closed.call.id);
  }

  /** The open call with this id, when it is one of this process. */
  find(id: string): Authorization | undefined {
    return this.#open.get(id);
  }

  stop(): void {
    this.#stop?.();
  }

  async #round(): Promise<void> {
    const now = this.#clock.now();
    const renewed: Authorization[] = [];
    for (const auth of this.#open.values()) {
      if (now - auth.at > this.#maxCallMs) void auth.abandon();
      else if (now - auth.at >= this.#leaseMs / 3 && !auth.isIdle()) renewed.push(auth);
    }
    try {
      if (renewed.length > 0) {
        const holds = renewed.map((auth) => auth.call.hold).filter((hold) => hold.epoch !== "");
        await this.#guard.ask("renew", undefined, () => this.#ledger.renew(holds, this.#leaseMs));
      }
    } catch {
      // Reported by the guard. The next round tries again; until then the leases run.
    }
    this.#stop = this.#open.size === 0 ? undefined : this.#clock.after(this.#leaseMs / 3, () => void this.#round());
  }
}
