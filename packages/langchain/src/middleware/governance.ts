import { createHash } from "node:crypto";
import { ConfigError, type Labels, type PolicyViolationError, type Rule } from "@driftlock/core";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { govern, governedBy } from "../govern/govern.js";
import { Targets } from "../govern/targets.js";
import { DriftlockCallbackHandler } from "../handler.js";
import { Labeller } from "../labels.js";
import { AgentRun, missionOf } from "./agent-run.js";
import { callLimitRule } from "./call-limit-rule.js";
import { Exit } from "./exit.js";
import { canInterrupt, hasCheckpointer, isBubbleUp, metadataHere, threadKey, type HookRuntime } from "./host.js";
import { startMission, type MissionHandle, type MissionIdentity, type MissionRaise } from "./mission.js";
import type { CallLimits, DriftlockMiddlewareOptions } from "./options.js";
import { Remembered } from "./remembered.js";
import { Warnings } from "./warnings.js";

/** What one middleware knows and keeps, for all runs of the agents it is given to. */
export class Governance<Mission extends MissionIdentity> {
  readonly options: DriftlockMiddlewareOptions<Mission>;
  readonly exit: Exit;
  readonly warnings = new Warnings();
  /** Judges models that are called under the agent without being governed: a fallback's, a tool's. */
  readonly handler: DriftlockCallbackHandler;
  readonly #name: string;
  readonly #runs = new Remembered<AgentRun>();
  readonly #labeller: Labeller;
  readonly #governed = new WeakMap<BaseChatModel, BaseChatModel>();
  /** Missions of threads: begun once in a process, because nobody ends them. */
  readonly #threads = new Remembered<MissionHandle>();
  /** Model nodes that have called the model once. */
  readonly #called = new WeakSet<object>();

  constructor(options: DriftlockMiddlewareOptions<Mission>, name: string) {
    const { policy, model, exitBehavior, labels, labelsFrom, trustedLabels } = options;
    this.options = options;
    this.#name = name;
    // Checks them now; each governed model has its own.
    void new Targets(options.models);
    this.#labeller = new Labeller(options, policy);
    this.handler = new DriftlockCallbackHandler({ policy, model, labels, labelsFrom, trustedLabels });
    // LangChain takes one handler of a name: another policy's must not stand for ours.
    Object.defineProperty(this.handler, "name", { value: `DriftlockMiddleware ${crypto.randomUUID()}` });
    this.exit = new Exit(exitBehavior);
  }

  /** The run of that id: its mission is begun with it. */
  run(id: string, runtime: HookRuntime): Promise<AgentRun> {
    return this.#runs.of(id, () => this.#begin(id, runtime));
  }

  /** The run has ended: what goes on after it is another one. */
  async end(run: AgentRun, status: "completed" | "failed" = "completed"): Promise<void> {
    this.#runs.forget(run.id);
    if (this.options.mission?.per === "run") await run.mission?.end(status);
  }

  /** The refusal is to leave the graph as an error. Nobody can go on with a run that has no checkpointer. */
  async thrown(run: AgentRun, refusal: PolicyViolationError, runtime: HookRuntime): Promise<PolicyViolationError> {
    if (!hasCheckpointer(runtime)) await this.end(run, "failed");
    run.left();
    return refusal;
  }

  /** The model could not be called: without a checkpointer that is the end of the run. */
  async failed(run: AgentRun, error: unknown, runtime: HookRuntime): Promise<unknown> {
    if (!hasCheckpointer(runtime) && !isBubbleUp(error)) await this.end(run, "failed");
    return error;
  }

  /** The model with every call of it judged. */
  governed(model: BaseChatModel): BaseChatModel {
    if (governedBy(model) === this.options.policy) return model;
    let governed = this.#governed.get(model);
    if (governed === undefined) {
      const { policy, models, model: name, labels, labelsFrom, trustedLabels } = this.options;
      governed = govern(model, {
        policy,
        models,
        model: name,
        labels,
        labelsFrom,
        trustedLabels,
      }) as unknown as BaseChatModel;
      this.#governed.set(model, governed);
    }
    return governed;
  }

  /** The labels of what a node does by itself, as those of a call are picked. */
  labels(): Labels {
    return this.#labeller.labelsOf(metadataHere());
  }

  /** Limits on the agent's model calls. */
  modelRules(run: AgentRun, runtime: HookRuntime): Rule[] {
    return this.#rules("", this.options, "model", run, runtime);
  }

  /** Limits on the calls of a tool. */
  toolRules(tool: string, run: AgentRun, runtime: HookRuntime): Rule[] {
    return (this.options.toolCallLimits ?? []).flatMap((limits, i) => {
      const { toolName } = limits;
      if (toolName !== undefined && toolName !== tool) return [];
      // Two limits on one tool count apart.
      return this.#rules(`[${toolName ?? "tools"}]`, limits, `tool ${i} ${toolName ?? ""}`, run, runtime);
    });
  }

  /** A run begins: better now than at its first refusal. */
  checkCheckpointer(runtime: HookRuntime): void {
    const { exitBehavior = pauses(this.options.mission) ? "interrupt" : "error" } = this.options;
    if (exitBehavior === "interrupt" && !canInterrupt(runtime)) this.warnings.say("DRIFTLOCK_NO_CHECKPOINTER");
  }

  /** A model node calls: a second call from one node shows a retry or a fallback outside of us. */
  checkOrder({ configurable }: HookRuntime, settings: unknown): void {
    const isAgain = configurable !== undefined && this.#called.has(configurable);
    if (configurable !== undefined) this.#called.add(configurable);
    // LangChain's modelRetryMiddleware says so to what is inside of it.
    const isRetried = (settings as { maxRetries?: unknown } | undefined)?.maxRetries === 0;
    if (isAgain || isRetried) this.warnings.say("DRIFTLOCK_MIDDLEWARE_ORDER");
  }

  /** A call was refused: where the application's mission was killed, its signal should have ended the run. */
  checkSignal(run: AgentRun, refusal: PolicyViolationError, { signal }: HookRuntime): void {
    const missionId = missionOf(refusal);
    const isKill = missionId !== undefined && (refusal as { action?: unknown }).action === "kill";
    if (isKill && signal?.aborted !== true && !run.began(missionId)) this.warnings.say("DRIFTLOCK_NO_SIGNAL");
  }

  async #begin(id: string, runtime: HookRuntime): Promise<AgentRun> {
    const { mission } = this.options;
    if (mission === undefined) return new AgentRun(id, undefined);
    const { missions, per } = mission;
    let handle: MissionHandle;
    if (per === "run") handle = await startMission(mission, id);
    else {
      const missionId = this.#thread("mission.per", per, runtime);
      handle = await this.#threads.of(missionId, () => startMission(mission, missionId));
    }
    const raise = (missionId: string, by: MissionRaise) => missions.raise(missionId, by);
    return new AgentRun(id, { handle, pauses: pauses(mission), raise });
  }

  #rules(suffix: string, limits: CallLimits, what: string, run: AgentRun, runtime: HookRuntime): Rule[] {
    const { runLimit, threadLimit } = limits;
    const rules: Rule[] = [];
    if (runLimit !== undefined)
      rules.push(
        callLimitRule({ name: `RunLimit${suffix}`, account: short(`run ${run.id} ${what}`), limit: runLimit }),
      );
    if (threadLimit !== undefined) {
      const account = short(`${this.#thread("threadLimit", threadLimit, runtime)} ${what}`);
      rules.push(callLimitRule({ name: `ThreadLimit${suffix}`, account, limit: threadLimit }));
    }
    return rules;
  }

  #thread(field: string, value: unknown, runtime: HookRuntime): string {
    const thread = threadKey(runtime, this.#name);
    if (thread !== undefined) return `thread ${thread}`;
    const problem = "needs a thread: pass configurable.thread_id with each run";
    throw new ConfigError({ field, value, problem });
  }
}

/** Whether missions made with these options pause when they are used up. */
function pauses(mission: object | undefined): boolean {
  return (mission as { onExceed?: unknown } | undefined)?.onExceed === "pause";
}

/** As long as an account's name may be. */
function short(name: string): string {
  return name.length <= 256 ? name : createHash("sha256").update(name).digest("hex");
}
