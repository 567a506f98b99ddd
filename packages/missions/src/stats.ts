import type { PolicyExtension } from "@driftlock/core";
import { journalAccount, NONE, SEPARATOR, sumsOf } from "./journal.js";
import type { Life } from "./life.js";
import { toNano, toUsd } from "./nano.js";
import { statusOf, type Intervention, type MissionStatus } from "./state.js";
import type { Row, Tally } from "./tally.js";

/** Calls of one kind. Money in USD, `tokens` input and output together. */
export interface StatsRow {
  readonly calls: number;
  readonly costUsd: number;
  readonly tokens: number;
  /** Calls charged at an estimate, because their usage was not known. */
  readonly estimated: number;
}

/** One of the last calls. */
export interface RecentCall {
  readonly id: string;
  /** ISO 8601, when it was closed. */
  readonly at: string;
  readonly model: string;
  readonly endpoint: string | null;
  readonly agent: string | null;
  /** The innermost mission of the call. */
  readonly missionId: string;
  readonly tokens: number;
  readonly costUsd: number;
  readonly estimated: boolean;
}

/** Everything known of a mission, JSON-able. */
export interface MissionStats {
  readonly id: string;
  readonly name: string;
  readonly status: MissionStatus;
  /** The mission around it. */
  readonly parent: string | null;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly budgetUsd: number;
  /** = directSpendUsd + nestedSpendUsd = the sum of each of the lists below + unattributedUsd, to the nano-dollar. */
  readonly totalCostUsd: number;
  readonly directSpendUsd: number;
  readonly nestedSpendUsd: number;
  readonly heldUsd: number;
  /** Calls let through, nested ones included. */
  readonly calls: number;
  readonly models: readonly (StatsRow & { readonly model: string })[];
  readonly endpoints: readonly (StatsRow & { readonly endpoint: string })[];
  readonly agents: readonly (StatsRow & { readonly agent: string })[];
  /** Who called which model: the mission's agents, and the missions inside it. */
  readonly graph: readonly (StatsRow & { readonly from: string; readonly to: string })[];
  /**
   * Spent, but not (or not yet) told by the process that made the call: calls under way when one died, closed by their ticket
   * elsewhere, or in the last half second of another process.
   */
  readonly unattributedUsd: number;
  /** The 50 last, latest last. */
  readonly recent: readonly RecentCall[];
  readonly interventions: readonly Intervention[];
}

/** Reads a mission's record. `life` has been brought up to date. */
export async function readStats(extension: PolicyExtension, life: Life): Promise<MissionStats> {
  const account = journalAccount(extension, life.id);
  const { state: journal } = await extension.ask("read", (ledger) => ledger.amend(account, {}));
  const sums = sumsOf(journal);
  const { state, readings } = life;
  const { terms, ended } = state;
  const total = toNano(readings.spent);
  const direct = toNano(readings.direct);
  const told = sums.models.rows().reduce((sum, [, { nano }]) => sum + nano, 0);
  return {
    id: life.id,
    name: terms.name,
    status: statusOf(state),
    parent: terms.parent ?? null,
    startedAt: new Date(terms.startedAt).toISOString(),
    endedAt: ended === undefined ? null : new Date(ended.at).toISOString(),
    budgetUsd: toUsd(state.budget),
    totalCostUsd: toUsd(total),
    directSpendUsd: toUsd(direct),
    nestedSpendUsd: toUsd(total - direct),
    heldUsd: readings.held,
    calls: readings.calls,
    models: rowsOf(sums.models).map(([model, row]) => ({ model, ...row })),
    endpoints: rowsOf(sums.endpoints).map(([endpoint, row]) => ({ endpoint, ...row })),
    agents: rowsOf(sums.agents).map(([agent, row]) => ({ agent, ...row })),
    graph: rowsOf(sums.edges).map(([edge, row]) => {
      const [from = NONE, to = edge] = edge.includes(SEPARATOR) ? edge.split(SEPARATOR) : [];
      return { from, to, ...row };
    }),
    unattributedUsd: toUsd(total - told),
    recent: sums.recent.map(({ id, at, model, endpoint, agent, missionId, tokens, nano, estimated }) => ({
      id,
      at: new Date(at).toISOString(),
      model,
      endpoint: endpoint ?? null,
      agent: agent ?? null,
      missionId,
      tokens,
      costUsd: toUsd(nano),
      estimated,
    })),
    interventions: state.interventions,
  };
}

/** The dearest first. */
function rowsOf(tally: Tally): readonly (readonly [string, StatsRow])[] {
  const inUsd = ({ calls, nano, tokens, estimated }: Row) => ({ calls, costUsd: toUsd(nano), tokens, estimated });
  return tally
    .rows()
    .toSorted(([, a], [, b]) => b.nano - a.nano)
    .map(([key, row]) => [key, inUsd(row)] as const);
}
