import type { AccountState, Hold } from "@driftlock/core";
import type { Terms } from "./terms.js";

/** `completed`, `degraded` and `failed` are ends; a degraded mission may also be running still. */
export type MissionStatus = "running" | "completed" | "degraded" | "paused" | "killed" | "failed";

/** One intervention, with the numbers of that moment. Money in USD, `at` in ISO 8601. */
export interface Intervention {
  readonly missionId: string;
  readonly at: string;
  readonly action: "downgrade" | "pause" | "kill" | "wrapUp" | "continue" | "raise";
  readonly reason: string;
  readonly spentUsd: number;
  readonly budgetUsd: number;
  readonly callCount: number;
  readonly projectedFinalCostUsd: number | null;
  readonly downgradeTo: string | null;
  /** Who decided, where a person did. */
  readonly by?: string;
  readonly addUsd?: number;
  readonly approvalId?: string;
}

/** What the ledger keeps of a mission beside its meters. */
export interface MissionState {
  readonly version: number;
  readonly terms: Terms;
  /** nano-USD that calls may spend now: the budget and its raises, without what is kept back for the last call. */
  readonly limit: number;
  /** nano-USD of budget and raises. */
  readonly budget: number;
  readonly isKilled: boolean;
  readonly isPaused: boolean;
  /** Downgrades so far. */
  readonly rung: number;
  /** `last`: one call without tools may still go. `done`: it went. */
  readonly wrapUp: "last" | "done" | undefined;
  readonly isWarned: boolean;
  /** What the callback let go on at which limit: it is not asked the same again. */
  readonly continued: string | undefined;
  readonly ended: { readonly status: "completed" | "failed"; readonly at: number } | undefined;
  readonly slice: Hold | undefined;
  readonly interventions: readonly Intervention[];
}

/** The names of the notes. What one process writes never undoes what another wrote: a kill outlives a raise made beside it. */
export const notes = {
  terms: "mission",
  killed: "killed",
  paused: "paused",
  rung: "rung",
  wrapUp: "wrapUp",
  warned: "warned",
  continued: "continued",
  ended: "ended",
  slice: "slice",
} as const;

const INTERVENTION = "did ";
/** Interventions kept: the first is never more than so many behind the last. */
const MAX_INTERVENTIONS = 32;

/** Reads a mission's state; undefined when the account is no mission's. */
export function stateFrom({ version, limitDelta, notes: found }: AccountState): MissionState | undefined {
  const written = found[notes.terms];
  if (written === undefined) return undefined;
  const terms = JSON.parse(written) as Terms;
  const wrapUp = found[notes.wrapUp] as MissionState["wrapUp"];
  const ended = found[notes.ended];
  const slice = found[notes.slice];
  return {
    version,
    terms,
    limit: limitDelta,
    budget: limitDelta + (wrapUp === undefined ? terms.reserve : 0),
    isKilled: found[notes.killed] !== undefined,
    isPaused: found[notes.paused] !== undefined,
    rung: Number(found[notes.rung] ?? 0),
    wrapUp,
    isWarned: found[notes.warned] !== undefined,
    continued: found[notes.continued],
    ended: ended === undefined ? undefined : (JSON.parse(ended) as MissionState["ended"]),
    slice: slice === undefined ? undefined : (JSON.parse(slice) as Hold),
    interventions: interventionKeys(found).map((key) => JSON.parse(found[key]!) as Intervention),
  };
}

export function statusOf({ isKilled, isPaused, rung, ended }: MissionState): MissionStatus {
  if (isKilled) return "killed";
  if (ended?.status === "failed") return "failed";
  if (isPaused) return "paused";
  if (rung > 0) return "degraded";
  return ended === undefined ? "running" : "completed";
}

/** The notes that add an intervention to the record, and take the oldest away when there are too many. */
export function interventionNotes(
  { version, notes: found }: Pick<AccountState, "version" | "notes">,
  intervention: Intervention,
): Record<string, string | null> {
  const old = interventionKeys(found);
  // Two processes may write at one version: neither takes the other's place.
  const key = `${INTERVENTION}${String(version).padStart(12, "0")} ${crypto.randomUUID().slice(0, 8)}`;
  const added: Record<string, string | null> = { [key]: JSON.stringify(intervention) };
  for (const key of old.slice(0, Math.max(0, old.length - MAX_INTERVENTIONS + 1))) added[key] = null;
  return added;
}

/** In the order in which they were made. */
function interventionKeys(found: AccountState["notes"]): string[] {
  return Object.keys(found)
    .filter((key) => key.startsWith(INTERVENTION))
    .sort();
}
