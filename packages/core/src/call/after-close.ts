import type { Reading } from "../domain/claim.js";
import type { Context } from "../domain/context.js";
import { toUsd } from "../domain/money.js";
import type { Receipt, Used } from "../domain/receipt.js";
import type { Meter, MeterClaim, MeterReading } from "../ledger/ledger.js";
import type { OwnedClaim } from "../policy/decide.js";
import type { Admitted } from "./admission.js";
import { readingInUnits } from "./claims.js";
import type { Charged, OnClosed } from "./open-call.js";
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
  const isTold = parts.emitter.has("threshold-crossed");
  const watched = demand.watched(isTold);
  if (watched.length === 0) return undefined;
  const onClosed = (receipt: Receipt, readings: readonly MeterReading[], charged: Charged) => {
    tellRules(parts, candidate.context, receipt, watched, readings, charged);
    if (!isTold) return;
    watched.forEach((one, i) => tellThresholds(parts, one, readings[i]!.settled, charged.usd));
  };
  return { views: watched.map(({ claim }) => claim.meter), onClosed };
}

function tellRules(
  { emitter }: Parts,
  context: Context,
  receipt: Receipt,
  watched: readonly Watched[],
  readings: readonly MeterReading[],
  used: Used,
): void {
  for (let i = 0; i < watched.length; i++) {
    const { rule } = watched[i]!.by.owner;
    // A handful at most: searched in line. Each rule is told once, of all its claims.
    if (rule.onClosed === undefined || watched.findIndex(({ by }) => by.owner.rule === rule) < i) continue;
    const own: Reading[] = [];
    for (let k = i; k < watched.length; k++) {
      const { by, claim } = watched[k]!;
      if (by.owner.rule === rule) own.push(readingInUnits(claim.meter.measure, readings[k]!));
    }
    try {
      const answer: unknown = rule.onClosed(context, receipt, own, used);
      if (answer instanceof Promise) answer.catch((error: unknown) => emitter.report(error, `${rule.name}.onClosed`));
    } catch (error) {
      emitter.report(error, `${rule.name}.onClosed`);
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
