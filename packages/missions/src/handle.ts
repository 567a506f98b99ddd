import { currentAmbient, withAmbient, type Ambient, type Labels, type Rule } from "@driftlock/core";
import { MISSION_LABEL } from "./accounts.js";
import type { Life } from "./life.js";
import type { Mission, MissionReport } from "./mission.js";
import { toUsd } from "./nano.js";
import { callsRemaining, confidenceOf, type Confidence, type Projection } from "./projection.js";
import { statusOf, type Intervention, type MissionStatus } from "./state.js";

/** What a handle needs beside the life: the rules of all missions around, outermost first, and how it ends. */
export interface Footing {
  readonly rules: readonly (Rule & { readonly missionId: string })[];
  readonly end: (status: "completed" | "failed") => Promise<void>;
}

/** A mission as its owner holds it. */
export class MissionHandle implements Mission {
  readonly #life: Life;
  readonly #footing: Footing;

  constructor(life: Life, footing: Footing) {
    this.#life = life;
    this.#footing = footing;
  }

  get id(): string {
    return this.#life.id;
  }
  get name(): string {
    return this.#life.state.terms.name;
  }
  get budget(): number {
    return toUsd(this.#life.state.budget);
  }
  get spent(): number {
    return this.#life.current().spent;
  }
  get remaining(): number {
    return Math.max(0, toUsd(this.#life.state.budget - Math.round(this.spent * 1e9)));
  }
  get held(): number {
    return this.#life.current().held;
  }
  get directSpend(): number {
    return this.#life.current().direct;
  }
  get nestedSpend(): number {
    const { spent, direct } = this.#life.current();
    return Math.round((spent - direct) * 1e9) / 1e9;
  }
  get callCount(): number {
    return this.#life.current().calls;
  }
  get burnRate(): number {
    return this.#life.current().mean;
  }
  get estimatedCallsRemaining(): number | null {
    const { expectedCalls, past } = this.#life.state.terms;
    return callsRemaining(this.callCount, { expectedCalls, past });
  }
  get projectedFinalCost(): number | null {
    return this.projection?.expected ?? null;
  }
  get projection(): Projection | null {
    this.#life.current();
    return this.#life.projection() ?? null;
  }
  get projectionConfidence(): Confidence {
    return confidenceOf(this.callCount);
  }
  get status(): MissionStatus {
    return statusOf(this.#life.state);
  }
  get wrappingUp(): boolean {
    return this.#life.state.wrapUp === "last";
  }
  get events(): readonly Intervention[] {
    return this.#life.state.interventions;
  }
  get signal(): AbortSignal {
    return this.#life.signal;
  }

  get ambient(): Ambient {
    return { labels: this.#labels(), rules: this.#footing.rules, mission: { id: this.id } };
  }

  within<T>(run: () => T): T {
    // Missions around that are already there count once.
    const there = new Set(currentAmbient()?.rules.map((rule) => (rule as { missionId?: string }).missionId));
    const rules = this.#footing.rules.filter(({ missionId }) => !there.has(missionId));
    return withAmbient({ labels: this.#labels(), rules, mission: { id: this.id } }, run);
  }

  async refresh(): Promise<void> {
    await Promise.all([this.#life.refresh(), this.#life.look()]);
  }

  report(): MissionReport {
    const { id, name, status, budget, spent, remaining, held, directSpend, nestedSpend, callCount, burnRate } = this;
    const { projection, projectionConfidence, events: interventions } = this;
    return {
      id,
      name,
      status,
      budgetUsd: budget,
      spentUsd: spent,
      remainingUsd: remaining,
      heldUsd: held,
      directSpendUsd: directSpend,
      nestedSpendUsd: nestedSpend,
      overBudget: spent > budget,
      callCount,
      burnRateUsd: burnRate,
      projection,
      projectionConfidence,
      interventions,
    };
  }

  end(status: "completed" | "failed" = "completed"): Promise<void> {
    return this.#footing.end(status);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }

  #labels(): Labels {
    const labels: Record<string, string> = {};
    const around: Life[] = [];
    for (let life: Life | undefined = this.#life; life !== undefined; life = life.parent) around.unshift(life);
    for (const { state } of around) Object.assign(labels, state.terms.labels);
    return { ...labels, [MISSION_LABEL]: this.id };
  }
}
