import type { Reading } from "../domain/claim.js";
import type { Context } from "../domain/context.js";
import { toUsd } from "../domain/money.js";
import type { Receipt } from "../domain/receipt.js";
import type { Meter, MeterClaim, MeterReading } from "../ledger/ledger.js";
import type { OwnedClaim } from "../policy/decide.js";
import type { Rule } from "../policy/rule.js";
import type { Admitted } from "./admission.js";
import { readingInUnits } from "./claims.js";
import type { OnClosed } from "./open-call.js";
import type { Parts } from "./parts.js";

/** Shares of a limit that are told when spend passes them, in percent. */
const THRESHOLDS = [50, 80, 100];

interface Watched {
  readonly by: OwnedClaim;
  readonly claim: MeterClaim;
}

/** Who wants to see the meters after a call is closed; `undefined` when nobody does, so that nothing is read for it. */
export function afterClose(
  parts: Parts,
  { demand, candidate }: Pick<Admitted, "demand" | "candidate">,
): { views: readonly Meter[]; onClosed: OnClosed } | undefined {
  const watched = demand.watched(parts.emitter.has("threshold-crossed"));
  if (watched.length === 0) return undefined;
  const onClosed = (receipt: Receipt, readings: readonly MeterReading[], chargedNano: number) => {
    tellRules(parts, candidate.context, receipt, watched, readings);
    watched.forEach((one, i) => tellThresholds(parts, one, readings[i]!.settled, chargedNano));
  };
  return { views: watched.map(({ claim }) => claim.meter), onClosed };
}

function tellRules(
  { emitter }: Parts,
  context: Context,
  receipt: Receipt,
  watched: readonly Watched[],
  readings: readonly MeterReading[],
): void {
  const byRule = new Map<Rule, Reading[]>();
  watched.forEach(({ by, claim }, i) => {
    const { rule } = by.owner;
    if (rule.onClosed === undefined) return;
    const own = byRule.get(rule) ?? [];
    own.push(readingInUnits(claim.meter.measure, readings[i]!));
    byRule.set(rule, own);
  });
  for (const [rule, own] of byRule) {
    const failed = (error: unknown) => emitter.report(error, `${rule.name}.onClosed`);
    try {
      const answer: unknown = rule.onClosed?.(context, receipt, own);
      if (answer instanceof Promise) answer.catch(failed);
    } catch (error) {
      failed(error);
    }
  }
}

/** A threshold is passed by the one settle that takes the meter over it: once per window, in all processes together. */
function tellThresholds({ emitter }: Parts, { by, claim }: Watched, after: number, chargedNano: number): void {
  const { limit, meter } = claim;
  if (typeof limit !== "number" || limit === Infinity || meter.measure !== "usd") return;
  for (const percent of THRESHOLDS) {
    const mark = (limit * percent) / 100;
    if (after < mark || after - chargedNano >= mark) continue;
    const { owner, claim: own } = by;
    emitter.emit("threshold-crossed", () => ({
      ruleName: owner.rule.name,
      scope: own.scope,
      percent,
      spentUsd: toUsd(after),
      maxUsd: toUsd(limit),
    }));
  }
}
