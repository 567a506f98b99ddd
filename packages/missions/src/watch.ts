import type { Context, Maybe, Reading, Receipt, RuleDecision, Shortfall, Used } from "@driftlock/core";
import type { Answer } from "./interventions/callback.js";
import { askers, isAsking } from "./interventions/callback.js";
import { downgrade } from "./interventions/downgrade.js";
import type { InterventionStep } from "./interventions/intervention.js";
import { kill } from "./interventions/kill.js";
import { pause } from "./interventions/pause.js";
import { wrapUp } from "./interventions/wrap-up.js";
import type { Life } from "./life.js";
import { proceed } from "./maybe.js";
import { toNano, toUsd } from "./nano.js";

import { interventionNotes, notes, type Intervention } from "./state.js";
import type { OnExceed } from "./terms.js";

/** What the owner of a mission is told in this process, bound to its handle. */
export interface Owner {
  warn(): void;
  ask(): Maybe<Answer>;
}

/** What makes a mission intervene. */
export interface Cause {
  readonly kind: "breach" | "forecast" | "operator";
  readonly reason: string;
  /** Whether it still holds once the state was read again: a raise may have come. Default: it does. */
  readonly holds?: () => boolean;
  readonly by?: string;
}

type Step = Exclude<OnExceed, "callback">;

export const steps: Readonly<Record<Step, InterventionStep>> = { kill, pause, wrapUp, downgrade };

/** A forecast that led to a downgrade looks at so many calls of the new model before it leads to the next. */
const CALLS_A_RUNG = 3;

/** An intervention that is due, and the work on it. */
interface Due {
  readonly action: OnExceed;
  readonly cause: Cause;
  work: Promise<unknown> | undefined;
  /** The missions in whose callbacks it was begun. */
  askers: ReadonlySet<string>;
}

/** Looks at a mission after every close and decides what is to be done. It acts by changing the state in the ledger. */
export class Watch {
  readonly life: Life;
  readonly #owner: Owner;
  #due: Due | undefined;
  #isWarning = false;

  constructor(life: Life, owner: Owner) {
    this.life = life;
    this.#owner = owner;
  }

  /** Something is being done that this call has to wait for. */
  get isBusy(): boolean {
    return this.#due !== undefined && this.#mayWaitFor(this.#due);
  }

  closed(context: Context, receipt: Receipt, readings: readonly Reading[], { released }: Used): void {
    const { life } = this;
    const isDirect = context.mission?.id === life.id;
    life.observe(readings, isDirect);
    const { state } = life;
    if (state.ended !== undefined) {
      const { id: missionId } = life;
      life.extension.emit("mission-late-call", () => ({ missionId, id: receipt.id, costUsd: receipt.costUsd }));
    }
    // Only the last call claims a place beside what every call claims.
    const wasLast = readings.length > life.passOf(isDirect).claims.length;
    if (wasLast && !released && state.wrapUp === "last") this.#wrapped();
    if (!state.isWarned && life.readings.spent >= toUsd(state.budget) * state.terms.warningThreshold) this.#warn();
    const cause = this.#cause();
    if (cause !== undefined) this.#background(this.#begin(state.terms.onExceed, cause));
  }

  /** Intervenes where a process died before it could. */
  async check(): Promise<void> {
    const cause = this.#cause();
    if (cause !== undefined) await this.#begin(this.life.state.terms.onExceed, cause);
  }

  /** A claim of the mission was refused. A breach is acted on, and the call judged again; a call too large only is refused. */
  shortfall({ claim, limit, settled }: Shortfall, block: () => RuleDecision): RuleDecision | undefined {
    const { life } = this;
    if (isAsking(life.id)) return undefined;
    if (this.#due !== undefined) return this.isBusy ? block().waiting(() => this.finish()) : undefined;
    if (!this.#isArmed()) return undefined;
    const { onExceed } = life.state.terms;
    if (claim.measure !== "usd") {
      if (settled < limit || onExceed !== "kill") return undefined;
      const reason = `${settled} of ${limit} ${claim.measure} used`;
      return block().waiting(() => this.#begin("kill", { kind: "breach", reason }));
    }
    const holds = () => {
      const remaining = life.state.limit - toNano(settled);
      const { known, mean } = life.readings;
      return remaining <= 0 || (known > 0 && remaining < toNano(mean));
    };
    if (!holds() || this.#isContinued("breach")) return undefined;
    const reason = `$${round(limit - settled)} is left, less than a call costs on average`;
    const cause = { kind: "breach", reason: settled >= limit ? spentReason(settled, limit) : reason, holds } as const;
    return block().waiting(() => this.#begin(onExceed, cause));
  }

  /** Does at once what an operator, or a limit that is no money, asks for. */
  act(action: Step, cause: Cause): Maybe<boolean> {
    const { life } = this;
    const begun = steps[action].begin(life.state);
    if (begun === undefined) return false;
    const intervention = this.interventionOf(action, cause);
    const added = interventionNotes(life.raw, intervention);
    const { patch, onceId } = begun;
    const amended = life.amend({ ...patch, notes: { ...patch.notes, ...added } }, onceId);
    return proceed(amended, (applied) => {
      if (applied) life.extension.emit("mission-intervened", () => intervention);
      return applied;
    });
  }

  /** Waits for what is being done, and does it where it failed before. */
  async finish(): Promise<void> {
    if (this.#due !== undefined) await this.#work(this.#due);
  }

  /** Kills the mission when its time is over. */
  async expire(reason: string): Promise<void> {
    await this.#begin("kill", { kind: "breach", reason });
  }

  /** What is recorded of an intervention: the numbers of this moment. */
  interventionOf(
    action: Intervention["action"],
    { reason, by }: Cause,
    more: Partial<Intervention> = {},
  ): Intervention {
    const { life } = this;
    const { spent, calls } = life.readings;
    const { budget, rung, terms } = life.state;
    return {
      missionId: life.id,
      at: new Date(life.extension.clock.now()).toISOString(),
      action,
      reason,
      spentUsd: spent,
      budgetUsd: toUsd(budget),
      callCount: calls,
      projectedFinalCostUsd: life.projection()?.expected ?? null,
      downgradeTo: action === "downgrade" ? (terms.ladder[rung] ?? null) : null,
      ...(by === undefined ? {} : { by }),
      ...more,
    };
  }

  /** Whether there is anything left to do about the budget. */
  #isArmed(): boolean {
    const { state } = this.life;
    const { onExceed } = state.terms;
    if (state.isKilled || state.isPaused || state.ended !== undefined || state.wrapUp !== undefined) return false;
    return onExceed === "callback" || steps[onExceed].begin(state) !== undefined;
  }

  /** Why to intervene now; undefined: for nothing. */
  #cause(): Cause | undefined {
    if (this.#due !== undefined || !this.#isArmed()) return undefined;
    const { life } = this;
    const { spent, calls } = life.readings;
    const { limit, terms, interventions } = life.state;
    const most = toUsd(limit);
    if (spent >= most && !this.#isContinued("breach")) {
      return { kind: "breach", reason: spentReason(spent, most), holds: () => spent >= toUsd(life.state.limit) };
    }
    if (terms.interveneOn === "breach" || this.#isContinued("forecast")) return undefined;
    const projection = life.projection();
    if (projection === undefined || !(projection[terms.interveneOn] > most)) return undefined;
    const last = interventions.findLast(({ action }) => action === "downgrade");
    if (last !== undefined && calls - last.callCount < CALLS_A_RUNG) return undefined;
    const forecast = projection[terms.interveneOn];
    return {
      kind: "forecast",
      reason: `it is projected to cost $${round(forecast)} of $${round(most)}`,
      holds: () => forecast > toUsd(life.state.limit),
    };
  }

  #isContinued(kind: Cause["kind"]): boolean {
    const { continued, limit } = this.life.state;
    return continued === `${kind} ${limit}` || (kind === "forecast" && continued === `breach ${limit}`);
  }

  /**
   * Not for the callback the call is part of. Nor, inside another mission's callback, for a callback that was asked beside it: its
   * own calls may be waiting for this one.
   */
  #mayWaitFor(due: Due): boolean {
    if (isAsking(this.life.id)) return false;
    return due.action !== "callback" || [...askers()].every((id) => due.askers.has(id));
  }

  #begin(action: OnExceed, cause: Cause): Promise<unknown> {
    this.#due ??= { action, cause, work: undefined, askers: askers() };
    return this.#work(this.#due);
  }

  /** At most one at a time. What fails stays due: the next call tries it again before it goes. */
  #work(due: Due): Promise<unknown> {
    if (due.work !== undefined) return due.work;
    due.askers = askers();
    const clear = () => {
      if (this.#due === due) this.#due = undefined;
    };
    const failed = (error: unknown) => {
      due.work = undefined;
      throw error;
    };
    let work: Maybe<unknown>;
    try {
      work = proceed(this.life.refresh(), () => (due.cause.holds?.() === false ? undefined : this.#do(due)));
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
    if (!(work instanceof Promise)) {
      clear();
      return Promise.resolve();
    }
    return (due.work = work.then(clear, failed));
  }

  #do({ action, cause }: Due): Maybe<unknown> {
    if (action !== "callback") return this.act(action, cause);
    return proceed(this.#owner.ask(), ({ action: answer, reason }) => {
      const { state } = this.life;
      if (answer === "continue") return this.#continue(cause);
      if (answer !== "downgrade" || downgrade.begin(state) !== undefined) return this.act(answer, { ...cause, reason });
      if (state.terms.ladder.length > 0) return this.#continue(cause);
      return this.act("pause", { ...cause, reason: `${reason}, and there is no model to downgrade to` });
    });
  }

  #continue({ kind }: Cause): Maybe<unknown> {
    if (this.#isContinued(kind)) return undefined;
    // Not once for all: an answer of another process may have taken its place.
    return this.life.amend({ notes: { [notes.continued]: `${kind} ${this.life.state.limit}` } });
  }

  #wrapped(): void {
    this.#background(() => this.life.amend({ notes: { [notes.wrapUp]: "done" } }, "wrapped up"));
  }

  #warn(): void {
    if (this.#isWarning) return;
    this.#isWarning = true;
    const { life } = this;
    const at = new Date(life.extension.clock.now()).toISOString();
    this.#background(() =>
      proceed(life.amend({ notes: { [notes.warned]: at } }, "warned"), (applied) => {
        this.#isWarning = false;
        if (!applied) return;
        const { missionId, spentUsd, budgetUsd } = life.refused("block", "");
        life.extension.emit("mission-warned", () => ({ missionId, spentUsd, budgetUsd }));
        this.#owner.warn();
      }),
    );
  }

  /** What fails here was told as `store-failed`, and comes again at the next close. */
  #background(work: Promise<unknown> | (() => Maybe<unknown>)): void {
    const failed = () => {
      this.#isWarning = false;
    };
    try {
      const going = typeof work === "function" ? work() : work;
      if (going instanceof Promise) going.catch(failed);
    } catch {
      failed();
    }
  }
}

function spentReason(spent: number, limit: number): string {
  return `$${round(spent)} of $${round(limit)} spent`;
}

function round(usd: number): number {
  return Number(usd.toPrecision(6));
}
