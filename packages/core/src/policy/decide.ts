import type { Claim, Shortfall } from "../domain/claim.js";
import type { Context } from "../domain/context.js";
import { messageOf } from "../errors/driftlock-error.js";
import { RuleDecision, type Metadata } from "./decision.js";
import { atOnce } from "./options.js";
import type { Rule } from "./rule.js";

/** A rule in its place: with the mode that counts, the engine's own included. */
export interface PlacedRule {
  readonly rule: Rule;
  readonly shadow: boolean;
}

/** A claim and the rule that answers for it. */
export interface OwnedClaim {
  readonly owner: PlacedRule;
  readonly claim: Claim;
}

/** A rule's own refusal. */
export interface Refusal {
  readonly owner: PlacedRule;
  readonly decision: RuleDecision;
  /** What the rule threw. */
  readonly cause?: unknown;
  readonly retryAfterMs?: number | undefined;
  /** What the call needed where it did not fit. */
  readonly needs?: string;
  /** A limit on the request itself was passed: operators may have moved it. */
  readonly byLimit?: boolean;
}

/** One call with one model: what the rules see, and its own size, which a claim on the request may lower. */
export interface Candidate {
  readonly context: Context;
  /**
   * Makes the call fit under a `window: "request"` claim, or says why it cannot. In shadow nothing is lowered. Throws for a
   * claim that makes no sense.
   */
  fit(claim: Claim, owner: PlacedRule): Shortfall | undefined;
}

export interface Plan {
  readonly candidate: Candidate;
  readonly claims: readonly OwnedClaim[];
  /** The first refusal; the claims are then those of the rules before it. */
  readonly refusal: Refusal | undefined;
  /** What rules in shadow would have refused. */
  readonly shadowed: readonly Refusal[];
  /** The rule whose downgrade chose the model. */
  readonly swappedBy: PlacedRule | undefined;
}

/**
 * Walks the rules in order. The first block ends it. A downgrade goes on with the new model, and then every rule judges that
 * model once more, where blocks and claims count and downgrades are ignored. `swapped` begins with that verify pass.
 */
export async function decide(
  rules: readonly PlacedRule[],
  model: string,
  candidateFor: (model: string) => Candidate,
  swapped?: PlacedRule,
): Promise<Plan> {
  let candidate = candidateFor(model);
  let swappedBy = swapped;
  const walk: Walk = { claims: [], shadowed: [], refusal: undefined };

  if (swapped === undefined) {
    for (const owner of rules) {
      const answer = judge(owner, candidate, walk);
      const decision = answer instanceof Promise ? await answer : answer;
      if (decision === undefined) break;
      if (
        decision.action === "downgrade" &&
        !owner.shadow &&
        decision.metadata["downgradeTo"] !== candidate.context.model
      ) {
        candidate = candidateFor(decision.metadata["downgradeTo"] as string);
        swappedBy = owner;
      }
    }
    if (swappedBy === undefined || walk.refusal !== undefined) return planOf(candidate, swappedBy, walk);
    walk.claims = [];
    walk.shadowed = [];
    candidate = candidateFor(candidate.context.model);
  }
  for (const owner of rules) {
    const answer = judge(owner, candidate, walk);
    if ((answer instanceof Promise ? await answer : answer) === undefined) break;
  }
  return planOf(candidate, swappedBy, walk);
}

interface Walk {
  claims: OwnedClaim[];
  shadowed: Refusal[];
  refusal: Refusal | undefined;
}

function planOf(candidate: Candidate, swappedBy: PlacedRule | undefined, { claims, shadowed, refusal }: Walk): Plan {
  return { candidate, claims, refusal, shadowed, swappedBy };
}

/** One rule's answer, its claims noted; `undefined` when it refused. Synchronous unless the rule is not. */
function judge(
  owner: PlacedRule,
  candidate: Candidate,
  walk: Walk,
): RuleDecision | undefined | Promise<RuleDecision | undefined> {
  const { rule } = owner;
  try {
    const applies = rule.when === undefined || rule.when(candidate.context);
    if (applies === false) return RuleDecision.allow();
    const answer = applies === true ? rule.evaluate(candidate.context) : whenAsked(applies, rule, candidate.context);
    if (!(answer instanceof Promise)) return note(owner, candidate, walk, answer);
    return answer
      .then((decision) => note(owner, candidate, walk, decision))
      .catch((error: unknown) => thrown(owner, walk, error));
  } catch (error) {
    return thrown(owner, walk, error);
  }
}

async function whenAsked(applies: Promise<boolean>, rule: Rule, context: Context): Promise<RuleDecision> {
  return (await applies) ? rule.evaluate(context) : RuleDecision.allow();
}

function note(owner: PlacedRule, candidate: Candidate, walk: Walk, answer: RuleDecision): RuleDecision | undefined {
  const decision = decisionOf(answer);
  if (!decision.allow) {
    if (owner.shadow) for (const claim of decision.claims) walk.claims.push({ owner, claim });
    return refuse(owner, walk, { owner, decision });
  }
  for (const claim of decision.claims) {
    const shortfall = candidate.fit(claim, owner);
    if (claim.window !== "request") walk.claims.push({ owner, claim });
    if (shortfall === undefined) continue;
    const metadata = explain(owner.rule, candidate.context, shortfall);
    const refusal = { owner, decision: RuleDecision.block(metadata), byLimit: true };
    if (refuse(owner, walk, refusal) === undefined) return undefined;
  }
  return decision;
}

function refuse(owner: PlacedRule, walk: Walk, refusal: Refusal): RuleDecision | undefined {
  if (owner.shadow) {
    walk.shadowed.push(refusal);
    return RuleDecision.allow();
  }
  walk.refusal = refusal;
  return undefined;
}

function thrown(owner: PlacedRule, walk: Walk, cause: unknown): RuleDecision | undefined {
  const reason = `the rule threw: ${messageOf(cause)}`;
  return refuse(owner, walk, { owner, decision: RuleDecision.block({ reason }), cause });
}

/** A plain object of a decision's shape is one; anything else refuses the call, because nobody knows what it meant. */
export function decisionOf(answer: unknown): RuleDecision {
  const { allow, action, metadata, claims, until } = (
    typeof answer === "object" && answer !== null ? answer : {}
  ) as Partial<RuleDecision>;
  if (typeof allow !== "boolean") throw new TypeError("evaluate() must answer a RuleDecision");
  const target = metadata?.["downgradeTo"];
  if (action === "downgrade" && (typeof target !== "string" || target === "")) {
    throw new TypeError("a downgrade needs metadata.downgradeTo, a model's name");
  }
  if (answer instanceof RuleDecision && !(allow && action === "block")) return answer;
  return new RuleDecision({
    allow: allow && action !== "block",
    action: action ?? null,
    metadata: metadata ?? {},
    claims: claims ?? [],
    until,
  });
}

/** A rule's own words for a refused claim, or the numbers as they are. */
export function explain(rule: Rule, context: Context, shortfall: Shortfall): Metadata {
  if (rule.explain !== undefined) return atOnce(`${rule.name}.explain`, rule.explain(context, shortfall));
  const { claim, limit, settled, held, needed, resetsAt } = shortfall;
  return { measure: claim.measure, scope: claim.scope, limit, settled, held, needed, resetsAt };
}
