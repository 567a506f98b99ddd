import {
  type AccountState,
  type Claim,
  type Context,
  type Maybe,
  type Metadata,
  type Reading,
  type Receipt,
  type Rule,
  RuleDecision,
  type Shortfall,
  type Used,
  type ViolationDetails,
} from "@driftlock/core";
import { MissionBudgetExceededError, type RefusalAction } from "./errors.js";
import type { Judged } from "./interventions/intervention.js";
import type { Journal } from "./journal.js";
import type { Life } from "./life.js";
import { toNano } from "./nano.js";
import { steps, type Watch } from "./watch.js";

/** From where a call comes that names no agent. */
const SELF = "(mission)";

/** In the order in which they count. */
const order = [steps.kill, steps.pause, steps.wrapUp, steps.downgrade] as const;

/** A mission as an ambient rule: it claims for every call of its block, and sees what came of it. */
export class MissionRule implements Rule {
  readonly name: string;
  /** By it a mission is recognised among ambient rules, also by another copy of the package. */
  readonly missionId: string;
  readonly life: Life;
  readonly #watch: Watch;
  readonly #journal: Journal;

  constructor(life: Life, watch: Watch, journal: Journal) {
    this.name = `MissionBudget:${life.id}`;
    this.missionId = life.id;
    this.life = life;
    this.#watch = watch;
    this.#journal = journal;
  }

  evaluate(context: Context): RuleDecision | Promise<RuleDecision> {
    return this.#judge(context, false);
  }

  onShortfall(_context: Context, shortfall: Shortfall): RuleDecision | undefined {
    return this.#watch.shortfall(shortfall, () => this.#refuse("block", "it does not fit"));
  }

  onStale(_claim: Claim, state: AccountState): void {
    this.life.take(state);
  }

  onClosed(context: Context, receipt: Receipt, readings: readonly Reading[], used: Used): void {
    this.#journal.add(this.#entry(context, receipt, used), receipt.heldUsd === 0 && receipt.costUsd > 0);
    this.#watch.closed(context, receipt, readings, used);
  }

  explain(_context: Context, { claim, limit, settled, held }: Shortfall): Metadata {
    const refused = this.life.refused("block", reasonOf(claim, limit, settled, held));
    return claim.measure === "usd" ? { ...refused, spentUsd: settled, heldUsd: held } : { ...refused };
  }

  violation(details: ViolationDetails): MissionBudgetExceededError {
    const { decision } = details;
    const { life } = this;
    const found = decision.metadata["missionId"] === undefined ? life.refused("block", reasonIn(details)) : {};
    const metadata = { ...found, ...decision.metadata };
    const error = new MissionBudgetExceededError({ ...details, decision: { ...decision, metadata } });
    if (life.state.isKilled) life.abort(error);
    return error;
  }

  #judge(context: Context, isFresh: boolean): Maybe<RuleDecision> {
    const { life } = this;
    const watch = this.#watch;
    const pass = life.passOf(context.mission?.id === life.id);
    const { state } = life;
    if (watch.isBusy) {
      const busy = this.#refuse("callback", "its intervention is on its way");
      return busy.claim(...pass.claims).waiting(() => watch.finish());
    }
    const { maxDurationMs = Infinity, startedAt, onExceed } = state.terms;
    const isOver = context.now - startedAt >= maxDurationMs;
    if (!isOver && !state.isKilled && !state.isPaused && state.wrapUp === undefined && state.rung === 0) return pass;
    const { claims } = pass;
    const call: Judged = {
      id: life.id,
      state,
      context,
      claims,
      isFresh,
      refuse: (action, reason) => this.#refuse(action, reason).claim(...claims),
      again: () => this.#again(context),
      changed: (signal) => life.changed(signal),
    };
    if (isOver && !state.isKilled) {
      const reason = `its ${maxDurationMs} ms are over`;
      const block = call.refuse("block", reason);
      return onExceed === "kill" ? block.waiting(() => watch.expire(reason)) : block;
    }
    for (const step of order) {
      const decision = step.judge(call);
      if (decision !== undefined) return decision;
    }
    return pass;
  }

  /** By the state as it is now. Without the store what was known stands, and what is only counted is still counted. */
  #again(context: Context): Maybe<RuleDecision> {
    const judge = () => this.#judge(context, true);
    let read: Maybe<unknown>;
    try {
      read = this.life.refresh();
    } catch {
      return judge();
    }
    return read instanceof Promise ? read.then(judge, judge) : judge();
  }

  #refuse(action: RefusalAction, reason: string): RuleDecision {
    return RuleDecision.block({ ...this.life.refused(action, reason) });
  }

  #entry({ labels, endpoint, mission }: Context, receipt: Receipt, { tokens, released }: Used) {
    const { life } = this;
    // As applications name them, else as LangChain and LangGraph do.
    const agent = labels["agent"] ?? labels["lc_agent_name"];
    const node = labels["node"] ?? labels["langgraph_node"];
    const from = agent === undefined ? node : node === undefined || node === agent ? agent : `${agent}/${node}`;
    const missionId = mission?.id ?? life.id;
    return {
      id: receipt.id,
      at: life.extension.clock.now(),
      model: receipt.model,
      endpoint,
      agent: from,
      missionId,
      from: missionId === life.id ? (from ?? SELF) : `mission ${missionId}`,
      tokens,
      nano: toNano(receipt.costUsd),
      estimated: receipt.estimated,
      released,
    };
  }
}

function reasonOf({ measure }: Claim, limit: number, settled: number, held: number): string {
  const unit = measure === "usd" ? "$" : "";
  const amount = (value: number) => `${unit}${Number(Math.max(0, value).toPrecision(6))}`;
  if (measure === "in-flight") return "another branch is making the last call";
  if (settled >= limit) return measure === "usd" ? "its budget is spent" : `its ${limit} ${measure} are used up`;
  return `the call does not fit into the ${amount(limit - settled - held)} that is left`;
}

function reasonIn({ decision }: ViolationDetails): string {
  const { reason } = decision.metadata;
  return typeof reason === "string" ? reason : "the call was refused";
}
