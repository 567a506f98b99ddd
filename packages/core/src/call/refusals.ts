import type { Context } from "../domain/context.js";
import { PolicyViolationError, type ViolationDetails } from "../errors/policy-violation-error.js";
import type { Emitter } from "../events/emitter.js";
import type { PolicyEvents } from "../events/events.js";
import type { Shortage } from "../ledger/ledger.js";
import { explain, type Plan, type Refusal } from "../policy/decide.js";
import { RuleDecision } from "../policy/decision.js";
import { atOnce } from "../policy/options.js";
import type { Rule } from "../policy/rule.js";
import type { Call } from "./call.js";
import { needsOf } from "./claims.js";
import type { Demand } from "./demand.js";

/** Says no: makes the error of a refusal and tells the listeners. */
export class Refusals {
  readonly #emitter: Emitter<PolicyEvents>;

  constructor(emitter: Emitter<PolicyEvents>) {
    this.#emitter = emitter;
  }

  /** The refusal of a claim that does not fit, in the words of its rule. */
  of(demand: Demand, shortage: Shortage, context: Context): Refusal {
    const { owner } = demand.ownerOf(shortage);
    const shortfall = demand.shortfall(shortage, context.now);
    const { retryAfterMs } = shortfall;
    const needs = needsOf(shortfall);
    try {
      return { owner, decision: RuleDecision.block(explain(owner.rule, context, shortfall)), retryAfterMs, needs };
    } catch (cause) {
      return { owner, decision: RuleDecision.block({ ...shortfall }), retryAfterMs, needs, cause };
    }
  }

  /** The error for a claim that does not fit. */
  short(call: Call, demand: Demand, shortage: Shortage, context: Context): Error {
    return this.violation(call, this.of(demand, shortage, context));
  }

  /** The error of a refusal. */
  violation(call: Call, { owner, decision, cause, retryAfterMs, needs }: Refusal, message?: string): Error {
    const { rule } = owner;
    const details = { ruleName: rule.name, decision, message, cause, retryAfterMs, needs };
    const error = ownViolation(rule, details) ?? new PolicyViolationError(details);
    this.tell(call, error);
    return error;
  }

  /** An adapter that cannot change the request must not send what the policy did not mean. */
  unamendable(call: Call, { swappedBy, candidate }: Plan): Error | undefined {
    if (swappedBy === undefined || call.request.amendable !== false) return undefined;
    const { model } = candidate.context;
    const decision = RuleDecision.downgrade(model, { model: call.model });
    const message =
      `${swappedBy.rule.name} moves this call from ${call.model} to ${model}, but a callback handler can only refuse a call, not change it. ` +
      `Use ${model} for it yourself, or send it through policy.run, which can change it.`;
    return this.violation(call, { owner: swappedBy, decision }, message);
  }

  /** Tells that a call is refused. */
  tell({ id, model, labels }: Call, { ruleName, decision, code, retryAfterMs }: PolicyViolationError): void {
    this.#emitter.emit("call-denied", () => ({
      id,
      model,
      labels,
      ruleName,
      metadata: decision.metadata,
      code,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    }));
  }

  /** Tells what rules in shadow would have refused; each rule once a call, however often it tries. */
  tellShadowed(call: Call, told: Set<string>, model: string, refusals: readonly Refusal[]): void {
    for (const { owner, decision } of refusals) {
      const { name: ruleName } = owner.rule;
      if (told.has(ruleName)) continue;
      told.add(ruleName);
      const { id, labels } = call;
      this.#emitter.emit("call-shadowed", () => ({ id, model, labels, ruleName, metadata: decision.metadata }));
    }
  }
}

/** The rule's own error. One that cannot be made, or is none, does not change that the call is refused. */
function ownViolation(rule: Rule, details: ViolationDetails): PolicyViolationError | undefined {
  try {
    const error: unknown = rule.violation && atOnce(`${rule.name}.violation`, rule.violation(details));
    return PolicyViolationError.isInstance(error) ? error : undefined;
  } catch {
    return undefined;
  }
}
