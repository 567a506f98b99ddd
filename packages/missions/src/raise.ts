import type { Hold } from "@driftlock/core";
import { raisedClaim } from "./accounts.js";
import type { Life } from "./life.js";
import { toNano, toUsd } from "./nano.js";
import { fail, number, readObject, text } from "./options.js";
import { interventionNotes, notes } from "./state.js";
import type { Watch } from "./watch.js";

export interface RaiseOptions {
  /** USD added to the budget. */
  readonly addUsd: number;
  /** Who approved it. */
  readonly by: string;
  /** The same approval counts once, however often it is told. */
  readonly approvalId: string;
  readonly reason?: string | undefined;
}

const MAX_USD = 9_000_000;

export function readRaise(given: unknown): Required<RaiseOptions> {
  const { addUsd, by, approvalId, reason } = readObject("raise", given);
  number("raise.addUsd", addUsd, 1e-9, MAX_USD, "USD");
  text("raise.by", by);
  text("raise.approvalId", approvalId);
  if (reason !== undefined) text("raise.reason", reason);
  return { addUsd, by, approvalId, reason: reason ?? `raised by ${by}` };
}

/** Adds to the budget once per approval, within the bound, and lets a paused mission go on. */
export async function raise(life: Life, watch: Watch, given: Required<RaiseOptions>): Promise<void> {
  const { addUsd, by, approvalId, reason } = given;
  if (life.state.isKilled) fail("missionId", life.id, "was killed, and stays so: a raise cannot bring it back");
  if (life.state.interventions.some((done) => done.approvalId === approvalId)) return;
  const nano = toNano(addUsd);
  if (life.state.budget + nano > toNano(MAX_USD))
    fail("raise.addUsd", addUsd, `takes the budget beyond ${MAX_USD} USD`);
  const claimed = await claim(life, nano, approvalId);
  const intervention = watch.interventionOf("raise", { kind: "operator", reason, by }, { addUsd, approvalId });
  const added = interventionNotes(life.raw, intervention);
  // Whoever is told the approval again finds it made: only the pause it was given for ends by it.
  const patch = { addLimit: nano, by, reason, notes: { ...added, [notes.paused]: null } };
  const isMade = await life.amend(patch, `raise ${approvalId}`);
  if (isMade) life.extension.emit("mission-intervened", () => intervention);
  if (claimed === undefined) return;
  // Also when another process made it meanwhile: that one saw this claim, and made none of its own.
  const actual = { usd: nano, tokens: 0, known: false };
  await life.extension.ask("settle", (ledger) => ledger.settle(claimed, actual));
}

/**
 * The bound on all raises is a limit like any other: the raise claims its amount first, in one atomic step, and settles when it
 * is made. Undefined: the same approval has claimed before, or nothing bounds it.
 */
async function claim({ id, state, extension }: Life, nano: number, approvalId: string): Promise<Hold | undefined> {
  const { maxRaise } = state.terms;
  if (maxRaise === undefined) return undefined;
  const meter = extension.meter(raisedClaim(id, toUsd(maxRaise)));
  const claims = [{ meter, limit: maxRaise, fixed: nano, perToken: 0, scale: 1 }];
  const lease = { ms: extension.leaseMs, onExpiry: "charge" } as const;
  const request = {
    // No call's id and no other approval's; the same approval with another amount is another claim.
    id: ` raise ${JSON.stringify([id, approvalId, nano])}`,
    claims,
    floor: 0,
    want: 0,
    take: "want",
    lease,
    named: true,
  } as const;
  const answer = await extension.ask("reserve", (ledger) => ledger.reserve(request));
  if (answer.kind === "held") return answer.hold;
  if (answer.kind === "duplicate") return undefined;
  return fail("raise.addUsd", toUsd(nano), `goes beyond the mission's maxRaiseUsd of ${toUsd(maxRaise)}`);
}
