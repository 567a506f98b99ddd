import { PolicyViolationError, StoreError, type PolicyEngine } from "@driftlock/core";
import { costing } from "../pitfalls/kit.js";
import { sleep } from "./scene.js";

/** What a call holds at most, in USD. Bills are whole cents up to it. */
const BOUND_USD = 0.1;

/** Makes calls, several at a time, and keeps the provider's side of the book, in cents. */
export class Load {
  /** Of every answer that came back. */
  billed = 0;
  /** Of the settles that were acknowledged. */
  acknowledged = 0;
  calls = 0;
  refused = 0;
  storeErrors = 0;
  readonly #policy: PolicyEngine;
  readonly #loops: Promise<void>[];
  #stopped = false;

  constructor(policy: PolicyEngine, atOnce = 16) {
    this.#policy = policy;
    this.#loops = Array.from({ length: atOnce }, () => this.#loop());
  }

  /** No new calls; resolves when the open ones are closed, or their close is retried in the background. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async #loop(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#call();
      } catch (error) {
        if (StoreError.isInstance(error)) this.storeErrors++;
        else if (PolicyViolationError.isInstance(error)) this.refused++;
        else throw error;
        await sleep(5);
      }
    }
  }

  async #call(): Promise<void> {
    const auth = await this.#policy.authorize(costing(BOUND_USD));
    await sleep(Math.random() * 5);
    this.calls++;
    if (Math.random() < 0.2) {
      await auth.release();
      return;
    }
    const cents = Math.ceil(Math.random() * 10);
    this.billed += cents;
    const { pending } = await auth.settle({ costUsd: cents / 100 });
    if (!pending) this.acknowledged += cents;
  }
}
