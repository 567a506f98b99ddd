import { toNano } from "../domain/money.js";

/** What this process has let through while the store was away, and the ledger does not know yet. */
export class Outage {
  readonly #mode: "deny" | "allow" | { readonly localMaxUsd: number };
  #admittedNano = 0;

  constructor(mode: "deny" | "allow" | { readonly localMaxUsd: number }) {
    this.#mode = mode;
  }

  /** Whether a call of this worst case (nano-USD) may go without the store. */
  admits(boundNano: number): boolean {
    if (this.#mode === "deny") return false;
    if (this.#mode === "allow") return true;
    if (this.#admittedNano + boundNano > toNano(this.#mode.localMaxUsd)) return false;
    this.#admittedNano += boundNano;
    return true;
  }

  /** The ledger has the money of such a call now. */
  accounted(boundNano: number): void {
    this.#admittedNano = Math.max(0, this.#admittedNano - boundNano);
  }
}
