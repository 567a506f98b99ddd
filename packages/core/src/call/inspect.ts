import type { Claim, Measure, Scope, Shortfall, Window } from "../domain/claim.js";
import type { Context } from "../domain/context.js";
import { toUsd } from "../domain/money.js";
import type { Metadata } from "../policy/decision.js";
import { accountOf } from "../ledger/account.js";
import type { Meter } from "../ledger/ledger.js";
import { resetsAt } from "../ledger/window.js";
import { decide, explain, type PlacedRule } from "../policy/decide.js";
import type { Rule } from "../policy/rule.js";
import type { Call } from "./call.js";
import type { CallCandidate } from "./candidate.js";
import { Demand } from "./demand.js";
import { frozen } from "./freeze.js";
import { readControl } from "./operators.js";
import type { Parts } from "./parts.js";

/** One rule's answer in a dry run. */
export interface Verdict {
  readonly rule: string;
  readonly allow: boolean;
  readonly action: "block" | "downgrade" | null;
  readonly metadata: Metadata;
  /** It only watches: its block would let the call pass. */
  readonly shadow: boolean;
}

/** Where one limit stands. Amounts in USD for `usd`, else counts, under the same names. */
export interface UsageRow {
  readonly rule: string;
  readonly scope: Scope;
  readonly measure: Measure;
  readonly window: Window;
  readonly spentUsd: number;
  readonly heldUsd: number;
  readonly maxUsd: number;
  /** ISO 8601; absent for lifetimes. */
  readonly resetsAt?: string;
}

/** Asks every rule by itself, each with the model the rules before it leave. */
export async function inspect(parts: Parts, call: Call): Promise<readonly Verdict[]> {
  const verdicts: Verdict[] = [];
  await readControl(parts);
  const freeze = frozen(parts, call.labels);
  if (freeze !== undefined) {
    const { rule, shadow } = freeze.owner;
    verdicts.push({ rule: rule.name, shadow, allow: false, action: "block", metadata: freeze.decision.metadata });
  }
  let { model } = call;
  for (const placed of call.rules) {
    const verdict = await verdictOf(parts, call, placed, model);
    verdicts.push(verdict);
    if (verdict.action === "downgrade" && !verdict.shadow) model = verdict.metadata["downgradeTo"] as string;
  }
  return verdicts;
}

async function verdictOf(parts: Parts, call: Call, { rule, shadow }: PlacedRule, model: string): Promise<Verdict> {
  const { ledger, guard, clock } = parts;
  const plan = await decide([{ rule, shadow: false }], model, call.candidateFor);
  const shown = { rule: rule.name, shadow };
  if (plan.refusal !== undefined)
    return { ...shown, allow: false, action: "block", metadata: plan.refusal.decision.metadata };
  const candidate = plan.candidate as CallCandidate;
  const demand = Demand.of(parts, call, candidate, plan.claims);
  const [shortage] = await guard.ask("check", call.id, () =>
    ledger.check(demand.claims, { floor: candidate.floor, want: candidate.floor }, demand.drawFrom),
  );
  if (shortage !== undefined) {
    const shortfall = demand.shortfall(shortage, clock.now());
    return { ...shown, allow: false, action: "block", metadata: explained(rule, candidate.context, shortfall) };
  }
  const swapped = candidate.context.model !== model;
  return {
    ...shown,
    allow: true,
    action: swapped ? "downgrade" : null,
    metadata: swapped ? { downgradeTo: candidate.context.model } : {},
  };
}

/** A rule that cannot explain itself leaves the bare numbers. */
function explained(rule: Rule, context: Context, shortfall: Shortfall): Metadata {
  try {
    return explain(rule, context, shortfall);
  } catch {
    return { ...shortfall };
  }
}

/** Reads the meters of the claims the rules make for calls with these labels. */
export async function usageOfRules(parts: Parts, call: Call): Promise<readonly UsageRow[]> {
  const { compiler, control, guard, ledger, clock } = parts;
  await readControl(parts);
  const now = clock.now();
  const candidate = call.candidateFor(call.model);
  const rows: { claim: Claim; rule: string; meter: Meter }[] = [];
  for (const placed of call.rules) {
    const { claims } = await decide([placed], call.model, () => candidate);
    for (const { claim, owner } of claims) {
      const account = accountOf(claim.scope, call.labels);
      if (account !== undefined) rows.push({ claim, rule: owner.rule.name, meter: compiler.meter(claim, account) });
    }
  }
  const readings = await guard.ask("read", undefined, () => ledger.read(rows.map(({ meter }) => meter)));
  const found: UsageRow[] = [];
  for (const [i, { claim, rule, meter }] of rows.entries()) {
    const { settled, held } = readings[i]!;
    const inUsd = claim.measure === "usd";
    const limit =
      claim.limit === "stored"
        ? (await guard.ask("read", undefined, () => ledger.amend(meter.account, {}))).state.limitDelta
        : claim.limit;
    const turns = resetsAt(meter, now);
    found.push({
      rule,
      scope: claim.scope,
      measure: claim.measure,
      window: meter.window,
      spentUsd: inUsd ? toUsd(settled) : settled,
      heldUsd: inUsd ? toUsd(held) : held,
      maxUsd: inUsd
        ? claim.limit === "stored"
          ? toUsd(limit)
          : Math.max(0, limit + toUsd(control.addedTo(rule, call.labels, now)))
        : limit,
      ...(turns === Infinity ? {} : { resetsAt: new Date(turns).toISOString() }),
    });
  }
  return found;
}
