import type { Labels } from "../domain/labels.js";
import type { Receipt } from "../domain/receipt.js";
import type { Usage } from "../domain/usage.js";
import { ConfigError, reading } from "../errors/config-error.js";
import { UnknownModelError } from "../errors/policy-violation-error.js";
import { holdOf } from "../ledger/hold.js";
import { decide, type PlacedRule } from "../policy/decide.js";
import { afterClose } from "./after-close.js";
import { Call } from "./call.js";
import type { CallCandidate } from "./candidate.js";
import type { Closer } from "./closer.js";
import { Demand } from "./demand.js";
import type { Parts } from "./parts.js";
import { readRequest } from "./request.js";
import { readUsage, usageProblem } from "../domain/usage.js";

/** Spend that happened: its cost, or a usage with the model to price it by. */
export interface SpendRecord {
  /** Counted once per id, within a day at least. */
  readonly id: string;
  readonly costUsd?: number;
  readonly usage?: Usage;
  readonly provider?: string;
  readonly labels?: Labels;
}

/** A recorded id is known at least this long (ms): job queues deliver again within hours. */
const REMEMBERED_MS = 86_400_000;

/** Books spend on every money and token meter the rules would claim for such a call, whatever their limits. */
export async function record(
  parts: Parts,
  closer: Closer,
  rules: readonly PlacedRule[],
  entry: SpendRecord,
): Promise<Receipt> {
  const { id, costUsd, usage, labels, provider } = reading("record", entry, () => read(entry));
  if (typeof id !== "string" || id === "")
    throw new ConfigError({ field: "record.id", value: id, problem: "must be a string" });
  const wrong = usageProblem(
    usage === undefined || (isObject(usage) && costUsd !== undefined) ? { ...usage, costUsd } : usage,
  );
  if (wrong !== undefined)
    throw new ConfigError({
      ...wrong,
      field: `record.${wrong.field === "usage.costUsd" || usage === undefined ? "costUsd" : wrong.field}`,
    });
  const cost = costUsd ?? usage?.costUsd;
  const model = usage?.model;
  if (
    cost === undefined &&
    (model === undefined ||
      (parts.prices.lookup(model, provider, parts.clock.now()) ?? parts.unknownPrice) === undefined)
  ) {
    throw new UnknownModelError(model ?? "", provider);
  }
  const request = { operation: model ?? "record", costUsd: 0, id, labels, provider };
  const call = new Call(parts, rules, readRequest(request), undefined);
  const candidate = call.candidateFor(call.model) as CallCandidate;
  const plan = await decide(
    call.rules.map(({ rule }) => ({ rule, shadow: true })),
    call.model,
    () => candidate,
  );
  // Nothing is under way: a place that a call would take is not taken, and no rule is told that it was.
  const claims = plan.claims.filter(({ claim }) => claim.measure !== "in-flight");
  const demand = Demand.of(parts, call, candidate, claims, false);
  const spends = {
    ...demand.reserveRequest(parts, call, candidate, "want"),
    claims: demand.claims.filter(({ meter }) => meter.measure === "usd" || meter.measure === "tokens"),
  };
  // A name of its own: the id may also be that of a call.
  const now = parts.clock.now();
  const hold = { ...holdOf(spends, "", 0, now), id: ` record ${id}`, named: true, expiresAt: now + REMEMBERED_MS };
  const { inputTokens = 0, outputTokens = 0 } = usage ?? {};
  const open = {
    id,
    model: call.model,
    provider,
    labels: call.labels,
    hold,
    boundNano: 0,
    heldNano: 0,
    inputTokens,
    outputTokens,
  };
  const watch = afterClose(parts, { demand, candidate });
  return closer.book(
    { call: open, views: watch?.views, onClosed: watch?.onClosed },
    { ...usage, inputTokens, outputTokens, ...(cost === undefined ? {} : { costUsd: cost }) },
  );
}

function read(entry: SpendRecord): Partial<SpendRecord> {
  const { id, costUsd, usage, labels, provider } = entry ?? {};
  // What is checked is what is booked.
  return {
    id,
    costUsd,
    usage: isObject(usage) ? (readUsage(usage) as Usage) : usage,
    labels,
    provider,
  } as Partial<SpendRecord>;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
