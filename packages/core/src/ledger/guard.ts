import type { Clock } from "../clock.js";
import { DriftlockError, messageOf } from "../errors/driftlock-error.js";
import { StoreError } from "../errors/store-error.js";
import type { Maybe } from "./ledger.js";

/** Retries of what must reach the ledger begin after this and double up to the most (ms). */
const RETRY_MS = 50;
const RETRY_MOST_MS = 5_000;

/** Asks the ledger with a deadline, and keeps trying where money would be lost otherwise. */
export class LedgerGuard {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #onFailure: (error: StoreError, id: string | undefined) => void;
  /** What was asked and not answered yet. */
  #asked = 0;
  /** What has to reach the ledger and has not been acknowledged yet. */
  #owed = 0;
  #closed = false;
  #onDone: (() => void) | undefined;

  constructor(clock: Clock, timeoutMs: number, onFailure: (error: StoreError, id: string | undefined) => void) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#onFailure = onFailure;
  }

  /** The ledger's answer: at once when it has one, else within the deadline; every failure is a `StoreError`. */
  ask<T>(operation: string, id: string | undefined, ask: () => Maybe<T>): Maybe<T> {
    try {
      const answer = ask();
      return answer instanceof Promise ? this.#withDeadline(operation, id, answer) : answer;
    } catch (error) {
      throw this.#failure(operation, id, error);
    }
  }

  /** Tries until the ledger acknowledges, in the background. `close` waits for it. */
  insist(operation: string, id: string, ask: () => Maybe<unknown>, delay = RETRY_MS): void {
    this.#owed++;
    const retry = () => void this.#retry(operation, id, ask, delay);
    this.#clock.after(delay, retry, { hold: true });
  }

  async #retry(operation: string, id: string, ask: () => Maybe<unknown>, delay: number): Promise<void> {
    try {
      await this.ask(operation, id, ask);
    } catch {
      // Reported by `ask`. Until the ledger has it, the money is not counted: try again, also while closing.
      if (!this.#closed) this.insist(operation, id, ask, Math.min(2 * delay, RETRY_MOST_MS));
    }
    this.#owed--;
    this.#onDone?.();
  }

  /** Waits for every answer and for everything that was insisted on; gives up after `ms` and answers how much is lost. */
  async drain(ms: number): Promise<number> {
    let over = false;
    const cancel = this.#clock.after(
      ms,
      () => {
        over = true;
        this.#onDone?.();
      },
      { hold: true },
    );
    while (this.#asked + this.#owed > 0 && !over) await new Promise<void>((resolve) => (this.#onDone = resolve));
    cancel();
    this.#closed = true;
    return this.#owed;
  }

  #withDeadline<T>(operation: string, id: string | undefined, answer: Promise<T>): Promise<T> {
    this.#asked++;
    return new Promise((resolve, reject) => {
      const finish = (act: () => void) => {
        if (cancel === undefined) return;
        cancel();
        cancel = undefined;
        // First the asker goes on, who may insist, then the one who waits for all.
        act();
        this.#asked--;
        this.#onDone?.();
      };
      const fail = (error: unknown) => finish(() => reject(this.#failure(operation, id, error)));
      const tooLate = () => fail(new Error(`no answer within ${this.#timeoutMs} ms`));
      let cancel: (() => void) | undefined = this.#clock.after(this.#timeoutMs, tooLate, { hold: true });
      answer.then((value) => finish(() => resolve(value)), fail);
    });
  }

  #failure(operation: string, id: string | undefined, error: unknown): Error {
    if (DriftlockError.isInstance(error) && !StoreError.isInstance(error)) return error;
    const failure = StoreError.isInstance(error)
      ? error
      : new StoreError(operation, messageOf(error), { cause: error });
    this.#onFailure(failure, id);
    return failure;
  }
}
