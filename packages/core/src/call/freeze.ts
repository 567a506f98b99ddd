import type { Labels } from "../domain/labels.js";
import type { Refusal } from "../policy/decide.js";
import { RuleDecision } from "../policy/decision.js";
import type { Rule } from "../policy/rule.js";
import type { Parts } from "./parts.js";

/** An operator's stop as a rule: first of all, and the same in errors, events and dry runs. */
const FREEZE: Rule = { name: "Freeze", evaluate: () => RuleDecision.allow() };

/** The refusal of calls with these labels while they are frozen, as far as this process knows. */
export function frozen({ control, clock, options }: Parts, labels: Labels): Refusal | undefined {
  const now = clock.now();
  const freeze = control.frozen(labels, now);
  if (freeze === undefined) return undefined;
  const { by, reason, at, until } = freeze;
  return {
    owner: { rule: FREEZE, shadow: options.mode === "shadow" },
    decision: RuleDecision.block({ frozen: true, by, reason, at, labels: freeze.labels }),
    retryAfterMs: until === undefined ? undefined : until - now,
  };
}
