import { DuplicateCallError, type Authorization, type PolicyEngine } from "@driftlock/core";
import { Group, type Admitted } from "./starts.js";

/** One model call of LangChain, from its start to its end. */
export interface Run {
  readonly id: string;
  readonly group: Group;
  /** Absent while the policy is asked. */
  admitted?: Admitted;
}

/** The open calls of a policy, whichever of its handlers started them. */
export class Runs {
  static readonly #byPolicy = new WeakMap<PolicyEngine, Runs>();

  /** The same for all handlers of a policy: a call is metered once even when several are attached. */
  static of(policy: PolicyEngine): Runs {
    let runs = Runs.#byPolicy.get(policy);
    if (runs === undefined) Runs.#byPolicy.set(policy, (runs = new Runs()));
    return runs;
  }

  /** In order of their start. */
  readonly #open = new Map<string, Run>();
  #hasWarned = false;

  /**
   * LangChain keeps a run's metadata object as long as it can still tell the run's end. It does not tell when a stream is
   * dropped unread, or when another handler's start threw: once the object is gone, nobody will close the call.
   */
  readonly #gone = new FinalizationRegistry<string>((id) => this.#open.get(id)?.admitted?.auth.lapse());

  /**
   * Begins a run; `undefined` when it is told twice.
   * @throws DuplicateCallError when another call that is still open was given the same id.
   */
  open(id: string, shared: object | undefined, metadata: object | undefined): Run | undefined {
    this.#forgetClosed();
    const known = this.#open.get(id);
    const group = Group.of(shared);
    if (known !== undefined) {
      if (shared === undefined || known.group === group) return undefined;
      // What cannot be given back now falls to its lease.
      group.refuse().catch(() => {});
      throw new DuplicateCallError(id);
    }
    const run = { id, group };
    this.#open.set(id, run);
    if (metadata !== undefined) this.#gone.register(metadata, id, run);
    return run;
  }

  get(id: string): Run | undefined {
    return this.#open.get(id);
  }

  /** Takes a run that has ended out; the first handler that hears of its end closes the call. */
  close(id: string): Run | undefined {
    const run = this.#open.get(id);
    this.#open.delete(id);
    if (run === undefined) return undefined;
    this.#gone.unregister(run);
    if (run.admitted !== undefined) run.group.leave(run.admitted);
    return run;
  }

  /** The policy let the call go. */
  async admitted(run: Run, auth: Authorization, signal: AbortSignal | undefined): Promise<void> {
    run.admitted = run.group.admit(auth, signal);
    if (run.group.isRefused) await this.refused(run);
  }

  /** A start throws: nothing of its group is sent. */
  async refused(run: Run): Promise<void> {
    this.#open.delete(run.id);
    await run.group.refuse();
  }

  /** Says once for a policy that a call without a maximum is held at a guess. */
  warnAssumed({ heldUsd, request }: Authorization): void {
    if (this.#hasWarned || heldUsd === 0) return;
    this.#hasWarned = true;
    process.emitWarning(
      `The model ${request.model} is called without a maximum of output tokens, and a callback handler cannot set one: calls in ` +
        "flight can pass a limit by what they write beyond the policy's assumedOutputTokens. Set maxTokens on the model.",
      { type: "DriftlockWarning", code: "DRIFTLOCK_ASSUMED_OUTPUT" },
    );
  }

  /** Calls that the policy closed because nobody did (`maxCallMs`) would stay for ever. The oldest come first. */
  #forgetClosed(): void {
    for (const [id, { admitted }] of this.#open) {
      if (admitted?.auth.closed !== true) return;
      this.#open.delete(id);
    }
  }
}
