import { AsyncLocalStorage } from "node:async_hooks";
import { PolicyViolationError, RuleDecision, currentAmbient, withAmbient, type Rule } from "@driftlock/core";
import { isCallLimit } from "./call-limit-rule.js";
import type { Refused } from "./approval.js";
import type { MissionHandle, MissionRaise } from "./mission.js";

/** Shared by every copy of the package in the process. */
const key = Symbol.for("driftlock.langchain.agent-run");
const shared = globalThis as { [key]?: AsyncLocalStorage<AgentRun> };
const around = (shared[key] ??= new AsyncLocalStorage<AgentRun>());

/** A mission that the middleware began for a run. */
export interface OwnMission {
  readonly handle: MissionHandle;
  /** It pauses when it is used up. */
  readonly pauses: boolean;
  readonly raise: (id: string, raise: MissionRaise) => Promise<unknown>;
}

/**
 * One run of an agent, from its first hook to its last. What stops it is kept here, not in the graph's state: a tool, a retry
 * or a subagent between the refusal and the agent may turn the error into an answer.
 */
export class AgentRun {
  readonly id: string;
  readonly #own: OwnMission | undefined;
  /** The agent's run whose tool this one runs in. */
  readonly #parent: AgentRun | undefined = around.getStore();
  /** The mission of the application around the run. */
  readonly #outerMission: string | undefined = currentAmbient()?.mission?.id;
  #refusal: PolicyViolationError | undefined;
  #hasLeft = false;

  /** Refuses every governed call, in any adapter, that is made inside a run that has been stopped. */
  readonly #stopRule: Rule = {
    name: "StoppedRun",
    evaluate: () => (this.#refusal === undefined ? RuleDecision.allow() : RuleDecision.block({ runId: this.id })),
    violation: (details) => this.#refusal ?? new PolicyViolationError(details),
  };

  constructor(id: string, own: OwnMission | undefined) {
    this.id = id;
    this.#own = own;
  }

  get mission(): MissionHandle | undefined {
    return this.#own?.handle;
  }

  /** The run's mission was found paused, by a call of another agent or process. */
  get pause(): Refused | undefined {
    const { id, status } = this.mission ?? {};
    return status === "paused"
      ? { message: `The mission ${id} is paused: its budget is used up.`, missionId: id }
      : undefined;
  }

  /** What has stopped the run, or one around it. */
  get refusal(): PolicyViolationError | undefined {
    return this.#refusal ?? this.#parent?.refusal ?? this.#killed();
  }

  /** Whether the middleware itself began a mission, for this run or one around it. */
  began(missionId: string): boolean {
    return this.mission?.id === missionId || this.#parent?.began(missionId) === true;
  }

  /** Whether a mission that the middleware began, here or around, pauses when it is used up. */
  pausesIn(missionId: string): boolean {
    if (this.mission?.id === missionId) return this.#own?.pauses === true;
    return this.#parent?.pausesIn(missionId) === true;
  }

  /** Who raises a mission: the middleware that began it. */
  raiseOf(missionId: string): OwnMission["raise"] | undefined {
    return this.mission?.id === missionId ? this.#own?.raise : this.#parent?.raiseOf(missionId);
  }

  /** Stops the run, and the runs around it that the refusal binds too. */
  refuse(refusal: PolicyViolationError): void {
    this.#refusal ??= refusal;
    if (this.#parent?.isStoppedBy(refusal) === true) this.#parent.refuse(refusal);
  }

  /**
   * Whether a refusal inside of a tool stops the run: not a limit that is a subagent's own, and no mission that the run is not
   * in. An exhausted child does not stop its parent.
   */
  isStoppedBy(refusal: PolicyViolationError): boolean {
    if (refusal === this.refusal) return true;
    if (isCallLimit(refusal)) return false;
    const missionId = missionOf(refusal);
    if (missionId === undefined || missionId === this.mission?.id || missionId === this.#outerMission) return true;
    return this.#parent?.isStoppedBy(refusal) === true;
  }

  /** The graph is left: by an error, or to wait for a person. */
  left(): void {
    this.#hasLeft = true;
  }

  /** A hook runs: after the graph was left this is a resumed run, and its calls are judged anew. */
  entered(): this {
    if (this.#hasLeft) this.goOn();
    return this;
  }

  /** What stopped the run is settled. */
  goOn(): void {
    this.#refusal = undefined;
    this.#hasLeft = false;
  }

  /** Runs `run` with the run's rules, its mission and `rules` over every governed call in it. */
  inside<T>(run: () => T, rules: readonly Rule[] = [], further: { insideCall?: boolean } = {}): T {
    const { ambient } = this.mission ?? {};
    const all = { ...ambient, ...further, rules: [this.#stopRule, ...(ambient?.rules ?? []), ...rules] };
    return around.run(this, () => withAmbient(all, run));
  }

  #killed(): PolicyViolationError | undefined {
    const { signal } = this.mission ?? {};
    return signal?.aborted === true ? PolicyViolationError.find(signal.reason) : undefined;
  }
}

/** The mission that refused a call, as its error tells. */
export function missionOf(refusal: PolicyViolationError): string | undefined {
  const { missionId } = refusal as { missionId?: unknown };
  return typeof missionId === "string" ? missionId : undefined;
}
