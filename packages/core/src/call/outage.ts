import { toNano } from "../domain/money.js";

/** What this process lets through while the store is away. */
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

  /** The store answers again. */
  over(): void {
    this.#admittedNano = 0;
  }
}
