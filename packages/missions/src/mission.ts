import type { Ambient } from "@driftlock/core";
import type { Confidence, Projection } from "./projection.js";
import type { Intervention, MissionStatus } from "./state.js";

/**
 * A mission as a process sees it. Money in USD. With a ledger in memory the numbers are those of this moment; with a store
 * those of the last call this process closed, or of the last `refresh`.
 */
export interface Mission {
  readonly id: string;
  readonly name: string;
  /** Raises included. */
  readonly budget: number;
  /** Nested missions included. */
  readonly spent: number;
  /** budget − spent, not under 0. */
  readonly remaining: number;
  /** Set aside for calls under way, and for the slices of nested missions. */
  readonly held: number;
  readonly directSpend: number;
  readonly nestedSpend: number;
  /** Calls let through, also those that failed afterwards. */
  readonly callCount: number;
  /** Moving average cost of a call (α = 0.3), of calls whose usage was known. */
  readonly burnRate: number;
  /** null where neither `expectedCalls` nor earlier missions of the name say how long it takes. */
  readonly estimatedCallsRemaining: number | null;
  /** The projection's expected end; null before 3 calls. */
  readonly projectedFinalCost: number | null;
  readonly projection: Projection | null;
  readonly projectionConfidence: Confidence;
  readonly status: MissionStatus;
  /** The last call was asked for: one without tools may still go. */
  readonly wrappingUp: boolean;
  /** Interventions so far, the 32 last at most. */
  readonly events: readonly Intervention[];
  /** Aborted when a call is refused because this mission, or one around it, was killed. */
  readonly signal: AbortSignal;
  /** For `policy.authorize(request, { ambient })` where no async context reaches. */
  readonly ambient: Ambient;
  /** Runs `run` in the mission: every governed call in it, also in what it starts asynchronously, counts here. */
  within<T>(run: () => T): T;
  /** Brings the numbers up to date with the store. */
  refresh(): Promise<void>;
  /** The numbers as plain data. */
  report(): MissionReport;
  /**
   * Ends the mission; `await using` does it too. A killed one stays killed; a paused one stays paused, to be continued after a
   * raise. Never throws for the store's sake: it is tried again in the background.
   */
  end(status?: "completed" | "failed"): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A mission in numbers, JSON-able. Money in USD. */
export interface MissionReport {
  readonly id: string;
  readonly name: string;
  readonly status: MissionStatus;
  readonly budgetUsd: number;
  readonly spentUsd: number;
  readonly remainingUsd: number;
  readonly heldUsd: number;
  readonly directSpendUsd: number;
  readonly nestedSpendUsd: number;
  readonly overBudget: boolean;
  readonly callCount: number;
  readonly burnRateUsd: number;
  readonly projection: Projection | null;
  readonly projectionConfidence: Confidence;
  readonly interventions: readonly Intervention[];
}
