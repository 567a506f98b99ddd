import { messageOf } from "../errors/driftlock-error.js";
import { UnknownModelError } from "../errors/policy-violation-error.js";
import { AccountLimitError, DuplicateCallError } from "../errors/request-errors.js";
import { StateLostError, StoreError } from "../errors/store-error.js";
import { CONTROL } from "../ledger/account.js";
import { holdOf } from "../ledger/hold.js";
import type { Hold, Meter, Reserved, ReserveRequest, Shortage } from "../ledger/ledger.js";
import type { Place } from "../ledger/waiting-room.js";
import { decide, decisionOf, type PlacedRule, type Plan, type Refusal } from "../policy/decide.js";
import { RuleDecision, type Until } from "../policy/decision.js";
import { atOnce } from "../policy/options.js";
import type { Call } from "./call.js";
import type { CallCandidate } from "./candidate.js";
import { fitsLater } from "./claims.js";
import { Demand } from "./demand.js";
import { frozen } from "./freeze.js";
import { readControl } from "./operators.js";
import type { Parts } from "./parts.js";
import { Refusals } from "./refusals.js";

/** A call that may go: what is held for it, and as what it goes. */
export interface Admitted {
  readonly hold: Hold;
  readonly candidate: CallCandidate;
  /** Output tokens granted. */
  readonly n: number;
  readonly demand: Demand;
}

/** Models a call tries at most before it waits or is refused: a rule that names a new one for ever must not hold it up. */
const MAX_SWAPS = 16;
/** Times in a row a call may be decided by a state that has changed meanwhile: a rule that never learns must not hold it up. */
const MAX_STALE = 16;

/** Where a call stands between two tries. */
interface Progress {
  place: Place | undefined;
  deadline: number | undefined;
  /** Waiting is over: take the largest that fits, or leave. */
  timedOut: boolean;
  take: "want" | "largest";
  /** A downgrade that answered a refused claim; the next try begins with its model. */
  swap: { model: string; owner: PlacedRule } | undefined;
  /** Rule and model of every downgrade made since the last wait: each is made once. */
  readonly swaps: Set<string>;
  stale: number;
  /** Rules in shadow that have been told: once a call, however often it tries. */
  readonly shadowed: Set<string>;
}

/** Lets calls in: decide, reserve, and where it does not fit downgrade, wait, take less or refuse. */
export class Admission {
  readonly #parts: Parts;
  readonly #refusals: Refusals;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#refusals = new Refusals(parts.emitter);
  }

  /** Holds the call's worst case, or throws why it may not go. Nothing stays held when it throws. */
  async admit(call: Call): Promise<Admitted> {
    const progress: Progress = {
      place: undefined,
      deadline: undefined,
      timedOut: false,
      take: "want",
      swap: undefined,
      swaps: new Set(),
      stale: 0,
      shadowed: new Set(),
    };
    try {
      for (;;) {
        const admitted = await this.#try(call, progress);
        if (admitted !== undefined) return admitted;
      }
    } finally {
      progress.place?.leave();
    }
  }

  /** One round; `undefined` asks for another. */
  async #try(call: Call, progress: Progress): Promise<Admitted | undefined> {
    const { ledger, guard, room, control } = this.#parts;
    call.request.signal?.throwIfAborted();
    this.#parts.assertOpen();
    if (control.freezes) await this.#refuseFrozen(call, progress);
    const { swap } = progress;
    let plan: Plan;
    try {
      plan = await decide(call.rules, swap?.model ?? call.model, call.candidateFor, swap?.owner);
    } catch (error) {
      if (UnknownModelError.isInstance(error)) this.#refusals.tell(call, error);
      throw error;
    }
    const candidate = plan.candidate as CallCandidate;
    const { model } = candidate.context;
    this.#refusals.tellShadowed(call, progress.shadowed, model, plan.shadowed);
    if (plan.refusal !== undefined) {
      const { until } = plan.refusal.decision;
      if (until !== undefined) return this.#until(call, progress, until);
      if (plan.refusal.byLimit && (await this.#hasNews(call))) return undefined;
      throw await this.#blocked(call, plan, plan.refusal);
    }
    const unamendable = this.#refusals.unamendable(call, plan);
    if (unamendable !== undefined) throw unamendable;

    const demand = Demand.of(this.#parts, call, candidate, plan.claims);
    // Who brings money of its own does not stand behind those who wait for money.
    const queue =
      room.size > 0 && demand.drawFrom === undefined && this.#mayWait(call, progress)
        ? room.queueBefore(demand.limited(), progress.place)
        : undefined;
    if (queue !== undefined) return this.#behind(call, progress, candidate, demand, queue);

    const request = demand.reserveRequest(this.#parts, call, candidate, progress.take);
    let answer: Exclude<Reserved, { kind: "late" }>;
    let missed = false;
    const mark = room.watch();
    try {
      const asked = guard.ask("reserve", call.id, () => ledger.reserve(request));
      const reserved = asked instanceof Promise ? await asked : asked;
      if (!isReserved(reserved)) throw new StoreError("reserve", "the ledger gave an answer that is none");
      if (reserved.kind === "late") throw new StoreError("reserve", "the store answered after its deadline");
      answer = reserved;
      missed = answer.kind === "short" && room.freedSince(mark, demand.meterOf(answer.shortages[0]!));
    } catch (error) {
      return this.#withoutStore(call, candidate, demand, request, error);
    } finally {
      room.unwatch();
    }
    switch (answer.kind) {
      case "held":
        if (answer.shadowed.length > 0) {
          const refusals = answer.shadowed.map((shortage) => this.#refusals.of(demand, shortage, candidate.context));
          this.#refusals.tellShadowed(call, progress.shadowed, model, refusals);
        }
        return { hold: answer.hold, candidate, n: answer.n, demand };
      case "stale":
        return this.#learn(call, progress, demand, answer.states);
      case "duplicate":
        throw new DuplicateCallError(call.id);
      case "full":
        throw new AccountLimitError(this.#parts.options.maxAccounts!);
      case "short":
        return this.#short(call, progress, candidate, demand, answer.shortages, missed);
    }
  }

  /** What the call was decided by has changed: the rules that need to know are told, then all judge again. */
  #learn(call: Call, progress: Progress, demand: Demand, states: (Reserved & { kind: "stale" })["states"]): undefined {
    for (const { account, state } of states) {
      if (account === CONTROL) this.#parts.control.take(state);
      const failed = demand.learn(account, state);
      const isStuck = failed === undefined && ++progress.stale > MAX_STALE;
      if (failed === undefined && !isStuck) continue;
      const owner = failed?.owner ?? demand.ownerAt(account);
      if (owner === undefined) continue;
      const cause = failed?.cause ?? new Error("it goes on deciding by an older state than the ledger's");
      const reason = `the rule threw: ${messageOf(cause)}`;
      throw this.#refusals.violation(call, { owner, decision: RuleDecision.block({ reason }), cause });
    }
    return undefined;
  }

  /** A rule's answer is on its way: the call waits for it and is judged again, from the request it came with. */
  async #until(call: Call, progress: Progress, until: Until): Promise<undefined> {
    await until(call.request.signal);
    progress.stale = 0;
    progress.swap = undefined;
    progress.swaps.clear();
    return undefined;
  }

  /** Others wait where this call claims: it lines up behind them, unless waiting cannot help it. */
  async #behind(
    call: Call,
    progress: Progress,
    candidate: CallCandidate,
    demand: Demand,
    queue: Meter,
  ): Promise<Admitted | undefined> {
    const { ledger, guard, room } = this.#parts;
    const range = { floor: candidate.floor, want: candidate.want };
    let lacking: readonly Shortage[];
    try {
      lacking = (await guard.ask("check", call.id, () => ledger.check(demand.claims, range, demand.drawFrom))).filter(
        (s) => !demand.claims[s.claim]!.shadow,
      );
    } catch (error) {
      return this.#withoutStore(
        call,
        candidate,
        demand,
        demand.reserveRequest(this.#parts, call, candidate, progress.take),
        error,
      );
    }
    const answered = this.#answered(call, progress, candidate, demand, lacking);
    if (answered === true || (answered !== false && (await answered))) return undefined;
    const hopeless = lacking.find((shortage) => !fitsLater(shortage, shortage.floor));
    if (hopeless !== undefined) {
      if (await this.#hasNews(call)) return undefined;
      throw this.#refusals.short(call, demand, hopeless, candidate.context);
    }
    // While the ledger was asked the line may have moved on; only who still stands behind somebody waits.
    if (room.queueBefore(demand.limited(), progress.place) === queue) await this.#wait(call, progress, queue, demand);
    return undefined;
  }

  #mayWait(call: Call, { place, timedOut }: Progress): boolean {
    const { room, options } = this.#parts;
    return call.mayWait && !timedOut && (place !== undefined || room.size < options.maxWaiters);
  }

  /** It does not fit: a rule's own answer first, then waiting for holds, then taking less, then no. */
  async #short(
    call: Call,
    progress: Progress,
    candidate: CallCandidate,
    demand: Demand,
    shortages: readonly Shortage[],
    missed: boolean,
  ): Promise<undefined> {
    const answered = this.#answered(call, progress, candidate, demand, shortages);
    if (answered === true || (answered !== false && (await answered))) return undefined;
    const hopeless = shortages.find((shortage) => !fitsLater(shortage, shortage.floor));
    if (hopeless !== undefined) throw this.#refusals.short(call, demand, hopeless, candidate.context);
    const worthWaiting = shortages.every((s) => fitsLater(s, s.want)) || shortages.some((s) => s.held > 0);
    if (worthWaiting && this.#mayWait(call, progress)) {
      await this.#wait(call, progress, demand.meterOf(shortages[0]!), demand, missed);
      return undefined;
    }
    if (progress.take === "largest") throw this.#refusals.short(call, demand, shortages[0]!, candidate.context);
    progress.take = "largest";
    return undefined;
  }

  /** Whether a refusing rule's `onShortfall` gave the call another model, or let it wait for a decision. */
  #answered(
    call: Call,
    progress: Progress,
    candidate: CallCandidate,
    demand: Demand,
    shortages: readonly Shortage[],
  ): boolean | Promise<boolean> {
    const { context } = candidate;
    for (const shortage of shortages) {
      const { owner } = demand.ownerOf(shortage);
      if (owner.rule.onShortfall === undefined) continue;
      let decision: RuleDecision | undefined;
      try {
        const answer = atOnce(
          `${owner.rule.name}.onShortfall`,
          owner.rule.onShortfall(context, demand.shortfall(shortage, context.now)),
        );
        decision = answer === null || answer === undefined ? undefined : decisionOf(answer);
      } catch (cause) {
        const reason = `the rule threw: ${messageOf(cause)}`;
        throw this.#refusals.violation(call, { owner, decision: RuleDecision.block({ reason }), cause });
      }
      if (decision?.allow === false && decision.until !== undefined) {
        return this.#until(call, progress, decision.until).then(() => true);
      }
      if (decision?.allow === false) throw this.#refusals.violation(call, { owner, decision });
      const model = decision?.action === "downgrade" ? decision.metadata["downgradeTo"] : undefined;
      const key = JSON.stringify([owner.rule.name, model]);
      if (typeof model !== "string" || model === context.model || progress.swaps.has(key)) continue;
      if (progress.swaps.size >= MAX_SWAPS) return false;
      progress.swaps.add(key);
      progress.swap = { model, owner };
      return true;
    }
    return false;
  }

  /** Waits for a hold to come back; afterwards the rules judge the original request again. */
  async #wait(call: Call, progress: Progress, meter: Meter, demand: Demand, missed = false): Promise<void> {
    const { room, clock, emitter } = this.#parts;
    const { signal } = call.request;
    if (progress.place === undefined) {
      progress.place = room.enter();
      emitter.emit("call-waiting", () => ({
        id: call.id,
        model: call.model,
        labels: call.labels,
        ruleName: demand.ruleAt(meter),
      }));
    }
    progress.deadline ??= clock.now() + call.waitMs;
    const woken = progress.place.wait(meter, Math.max(0, progress.deadline - clock.now()), signal);
    // A hold that came back while the ledger answered woke nobody: try again, in line and with the clock running.
    if (missed) progress.place.wake("room");
    const wake = await woken;
    progress.stale = 0;
    progress.swap = undefined;
    progress.swaps.clear();
    progress.timedOut = wake === "timeout" || clock.now() >= progress.deadline;
    progress.take = progress.timedOut ? "largest" : "want";
  }

  /** The store failed: fail closed, or go on without it as the options say. */
  #withoutStore(
    call: Call,
    candidate: CallCandidate,
    demand: Demand,
    request: ReserveRequest,
    error: unknown,
  ): Admitted {
    if (!StoreError.isInstance(error)) throw error;
    const { guard, ledger, clock } = this.#parts;
    const hold = holdOf(request, "", candidate.want, clock.now());
    // The answer was lost, not the reserve perhaps: what it may have held is given back until the store acknowledges.
    if (!StateLostError.isInstance(error)) guard.insist("release", call.id, () => ledger.release(hold));
    const goesOn = () =>
      !StateLostError.isInstance(error) && this.#parts.outage.admits(candidate.boundNano(candidate.want));
    if (this.#parts.options.mode !== "shadow" && !goesOn()) throw error;
    return { hold: { ...hold, id: ` unheld ${call.id}` }, candidate, n: candidate.want, demand };
  }

  async #refuseFrozen(call: Call, progress: Progress): Promise<void> {
    const refusal = frozen(this.#parts, call.labels);
    if (refusal === undefined) return;
    if (await this.#hasNews(call)) return this.#refuseFrozen(call, progress);
    if (!refusal.owner.shadow) throw this.#refusals.violation(call, refusal);
    this.#refusals.tellShadowed(call, progress.shadowed, call.model, [refusal]);
  }

  /** Whether operators changed something this process did not know: a reserve would have been told, other answers are not. */
  async #hasNews(call: Call): Promise<boolean> {
    const { control } = this.#parts;
    const { version } = control;
    try {
      await readControl(this.#parts, call.id);
    } catch (error) {
      // What was known stands: without the store nothing is let through on a guess.
      if (!StoreError.isInstance(error)) throw error;
    }
    return control.version !== version;
  }

  /** A rule blocked by itself. An earlier rule whose claim has no room even with all holds returned is reported instead. */
  async #blocked(call: Call, plan: Plan, refusal: Refusal): Promise<Error> {
    const { ledger, guard } = this.#parts;
    const candidate = plan.candidate as CallCandidate;
    const demand = Demand.of(
      this.#parts,
      call,
      candidate,
      plan.claims.filter(({ owner }) => !owner.shadow),
    );
    try {
      const range = { floor: candidate.floor, want: candidate.want };
      const lacking =
        plan.claims.length === 0
          ? []
          : await guard.ask("check", call.id, () => ledger.check(demand.claims, range, demand.drawFrom));
      const hopeless = lacking.find((shortage) => !fitsLater(shortage, shortage.floor));
      if (hopeless !== undefined) return this.#refusals.short(call, demand, hopeless, candidate.context);
    } catch (error) {
      // The call is refused either way: without the store, by the rule that blocked.
      if (!StoreError.isInstance(error)) throw error;
    }
    return this.#refusals.violation(call, refusal);
  }
}

const kinds: readonly unknown[] = ["held", "short", "stale", "duplicate", "full", "late"] satisfies Reserved["kind"][];

/** A ledger of somebody else's may answer anything; what is not understood must not become an allow, nor be asked for ever. */
function isReserved(answer: unknown): boolean {
  return kinds.includes((answer as Partial<Reserved> | null | undefined)?.kind);
}
