import { DriftlockError, PolicyEngine, PolicyViolationError, currentAmbient, type Labels } from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";
import { MissionBudgetExceededError, Missions, type Mission, type MissionOptions } from "@driftlock/missions";
import type { Outcome } from "./play.js";
import type { Vector } from "./vectors.js";

/** One step of a mission's vector, in the origin's words. */
interface Step {
  readonly open?: Readonly<Record<string, unknown>> & { readonly id: string };
  readonly close?: string;
  readonly with_exception?: string;
  readonly call?: Readonly<Record<string, unknown>> & { readonly cost_usd: number | null; readonly model: string };
  readonly parallel_async?: { readonly n: number; readonly cost_usd: number };
  readonly [expectation: string]: unknown;
}

export interface MissionVector extends Vector {
  readonly past_missions?: readonly { readonly calls: number }[];
  readonly steps: readonly Step[];
}

export interface StatusVector extends Vector {
  readonly actions: readonly ("downgrade" | "kill")[];
  readonly expect: never;
}

/** One open mission of a vector. */
interface Open {
  readonly mission: Mission;
  callbackCalls: number;
}

/** A world in which a call costs what the vector says, whatever its model is: money is checked, not held. */
class World {
  readonly clock = new ManualClock();
  readonly policy = new PolicyEngine({
    rules: [],
    store: "memory",
    clock: this.clock,
    reservation: "off",
    unknownModel: { inputUsdPerMTok: 1, outputUsdPerMTok: 1 },
  });
  readonly missions = new Missions({ policy: this.policy });
  readonly #stack: Open[] = [];
  readonly #all = new Map<string, Open>();
  #labels: Labels = {};

  constructor() {
    this.policy.on("call-settled", ({ labels }) => void (this.#labels = labels));
  }

  async open({ id, callback_returns, ...given }: NonNullable<Step["open"]>): Promise<void> {
    const open = { callbackCalls: 0 } as Open & { mission: Mission };
    const callback = () => {
      open.callbackCalls++;
      return callback_returns as never;
    };
    const options = {
      name: "vector",
      missionId: id,
      interveneOn: "expected",
      ...camel(given),
      ...(callback_returns === undefined ? {} : { callback }),
    } as MissionOptions;
    open.mission = await this.#inside(() => this.missions.start(options));
    this.#all.set(id, open);
    this.#stack.push(open);
  }

  async close({ close, with_exception }: Step): Promise<void> {
    const at = this.#stack.findIndex(({ mission }) => mission.id === close);
    const [open] = this.#stack.splice(at, 1);
    await open!.mission.end(with_exception === undefined ? "completed" : "failed");
  }

  /** Plays a call and answers what came of it, in the words of the vector. */
  async call({ cost_usd: cost, model, provider_fails }: NonNullable<Step["call"]>): Promise<Outcome> {
    let sent: string | undefined;
    const send = () =>
      this.policy.run(
        { model, inputTokens: 1, maxOutputTokens: 1 },
        (request) => {
          sent = request.model;
          if (provider_fails === true) throw Object.assign(new Error("the provider failed"), { status: 400 });
          return {};
        },
        () => (cost === null ? undefined : { inputTokens: 1, outputTokens: 1, costUsd: cost }),
      );
    try {
      await this.#inside(send);
    } catch (error) {
      const refusal = MissionBudgetExceededError.find(error);
      if (refusal === undefined) return { sent_model: sent, failed: DriftlockError.find(error)?.code ?? true };
      const is_policy_violation = PolicyViolationError.isInstance(refusal);
      const { missionId: mission_id, ruleName: rule_name, decision } = refusal;
      const metadata = snake(decision.metadata);
      return {
        throws: "budget_exceeded",
        error: { mission_id, rule_name, is_policy_violation, metadata },
        sent_model: sent,
      };
    }
    return { sent_model: sent };
  }

  async parallel({ n, cost_usd }: NonNullable<Step["parallel_async"]>): Promise<void> {
    await Promise.all(Array.from({ length: n }, () => this.call({ cost_usd, model: "gpt-4o" })));
  }

  /** What an `expect…` step asks for. */
  async found(name: string, wanted: unknown): Promise<unknown> {
    const fields = (typeof wanted === "object" && wanted !== null ? wanted : {}) as Record<string, string>;
    const id = fields["id"];
    switch (name) {
      case "expect": {
        const open =
          fields["mission"] === undefined
            ? (this.#stack.at(-1) ?? [...this.#all.values()].at(-1))
            : this.#all.get(fields["mission"]);
        return live(open!);
      }
      case "expect_current":
        return this.#inside(() => currentAmbient()?.mission?.id ?? null);
      case "expect_stats": {
        const { directSpendUsd, nestedSpendUsd, interventions, ...stats } = await this.missions.stats(id!);
        const direct = this.#all.get(id!)!.mission;
        const inside = stats.graph.filter(({ from }) => from.startsWith("mission "));
        return {
          ...snake(stats),
          direct_spend: directSpendUsd,
          nested_spend: nestedSpendUsd,
          intervention_count: interventions.length,
          // The origin's count of direct calls.
          calls: direct.callCount - inside.reduce((sum, { calls }) => sum + calls, 0),
        };
      }
      case "expect_listing":
      case "expect_row": {
        const rows = await this.missions.list();
        return snake(rows.find((row) => row.id === id)!);
      }
      case "expect_summary":
        return snake(this.#all.get(id!)!.mission.report());
      case "expect_last_call": {
        const { mission_id = null } = this.#labels;
        return { mission_id, labels: { ...this.#labels } };
      }
      default:
        throw new Error(`no step is called ${name}`);
    }
  }

  #inside<T>(act: () => T): T {
    const innermost = this.#stack.at(-1);
    return innermost === undefined ? act() : innermost.mission.within(act);
  }
}

/** Plays a vector; the outcome is each expectation as it was found, under the number of its step. */
export async function playMission({ steps, past_missions = [] }: MissionVector): Promise<Outcome> {
  const world = new World();
  for (const { calls } of past_missions) {
    world.clock.advance(1_000);
    await world.open({ id: crypto.randomUUID(), budget_usd: 1_000_000 });
    for (let i = 0; i < calls; i++) await world.call({ cost_usd: 0, model: "gpt-4o" });
    await world.close({ close: await (world.found("expect_current", null) as Promise<string>) });
  }
  const outcome: Record<string, unknown> = {};
  for (const [i, step] of steps.entries()) {
    const [name, wanted] = Object.entries(step)[0]!;
    if (step.open !== undefined) await world.open(step.open);
    else if (step.close !== undefined) await world.close(step);
    else if (step.call !== undefined) outcome[`${i} call`] = await world.call(step.call);
    else if (step.parallel_async !== undefined) await world.parallel(step.parallel_async);
    else outcome[`${i} ${name}`] = await world.found(name, wanted);
  }
  return outcome;
}

/** What a mission's vector expects, under the same numbers. */
export function expectedOf({ steps }: MissionVector): Record<string, unknown> {
  const expected: Record<string, unknown> = {};
  for (const [i, step] of steps.entries()) {
    const [name, wanted] = Object.entries(step)[0]!;
    if (step.call !== undefined) {
      const { sent_model, throws, error } = step.call;
      expected[`${i} call`] = {
        ...(sent_model ? { sent_model } : {}),
        ...(throws ? { throws } : {}),
        ...(error ? { error } : {}),
      };
    } else if (name.startsWith("expect")) {
      expected[`${i} ${name}`] = name === "expect" ? omit(wanted as object, "mission") : wanted;
    }
  }
  return expected;
}

/** The status at the end of a mission in which these interventions happened. */
export async function playStatus({ actions }: StatusVector): Promise<string> {
  const world = new World();
  await world.open({
    id: "m",
    budget_usd: 0.3,
    on_exceed: actions.includes("downgrade") ? "downgrade" : "kill",
    ...(actions.includes("downgrade") ? { downgrade_to: "small" } : {}),
  });
  if (actions.includes("downgrade")) await world.call({ cost_usd: 0.4, model: "gpt-4o" });
  if (actions.includes("kill")) await world.missions.kill("m", { by: "ops", reason: "enough" });
  await world.close({ close: "m" });
  return ((await world.found("expect_row", { id: "m" })) as { status: string }).status;
}

function live({ mission, callbackCalls }: Open): Record<string, unknown> {
  const { events } = mission;
  return {
    status: mission.status,
    spent: mission.spent,
    call_count: mission.callCount,
    direct_spend: mission.directSpend,
    nested_spend: mission.nestedSpend,
    burn_rate: mission.burnRate,
    estimated_calls_remaining: mission.estimatedCallsRemaining,
    projected_final_cost: mission.projectedFinalCost,
    projection_confidence: mission.projectionConfidence,
    event_count: events.length,
    event0: events[0] && snake(events[0]),
    callback_calls: callbackCalls,
  };
}

const camel = (names: object) =>
  Object.fromEntries(
    Object.entries(names).map(([key, value]) => [
      key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
      value as unknown,
    ]),
  );
const snake = (names: object) =>
  Object.fromEntries(
    Object.entries(names).map(([key, value]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value as unknown,
    ]),
  );
const omit = (object: object, name: string) =>
  Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));
