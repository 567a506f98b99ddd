import type { Authorization } from "@driftlock/core";

/** A call that may be sent as soon as LangChain has begun all of its group. */
export interface Admitted {
  readonly auth: Authorization;
  /** Stops listening to the call's signal. */
  readonly unlisten: () => void;
}

/** What LangChain starts together: it sends all of it or, when one start throws, nothing. */
export class Group {
  /** By the `extraParams` that all starts of a group share, whatever the handler and the policy. */
  static readonly #all = new WeakMap<object, Group>();

  static of(shared: object | undefined): Group {
    let group = shared && Group.#all.get(shared);
    if (group === undefined) {
      group = new Group();
      if (shared !== undefined) Group.#all.set(shared, group);
    }
    return group;
  }

  readonly #admitted = new Set<Admitted>();
  #isRefused = false;

  /** A start has thrown: nothing of the group is sent. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /**
   * A policy let a call of the group go. Where the group `isRefused` meanwhile, `refuse` gives it back. When its signal aborts
   * a stream between two chunks, LangChain tells neither end nor error.
   */
  admit(auth: Authorization, signal: AbortSignal | undefined): Admitted {
    const giveUp = () => auth.giveUp();
    signal?.addEventListener("abort", giveUp, { once: true });
    const admitted = { auth, unlisten: () => signal?.removeEventListener("abort", giveUp) };
    this.#admitted.add(admitted);
    return admitted;
  }

  /** The call has ended, or somebody else closes it. */
  leave(admitted: Admitted): void {
    admitted.unlisten();
    this.#admitted.delete(admitted);
  }

  /** A start throws: what was admitted is given back. */
  async refuse(): Promise<void> {
    this.#isRefused = true;
    const unsent = [...this.#admitted];
    this.#admitted.clear();
    for (const { auth, unlisten } of unsent) {
      unlisten();
      await auth.release();
    }
  }
}
