import { ConfigError, type PolicyEngine } from "@driftlock/core";
import type { ToolCall } from "@langchain/core/messages/tool";
import { checkModelName, checkPolicy } from "../check.js";
import type { Models } from "../govern/targets.js";
import type { LabelOptions } from "../labels.js";
import { checkMission, type MissionIdentity, type MissionOption } from "./mission.js";

/** At most so many calls, counted in the policy's ledger: across processes, and also when a graph is rewound. */
export interface CallLimits {
  /** Calls in one run. Default: no limit. */
  readonly runLimit?: number | undefined;
  /** Calls in all runs of a `thread_id`. Default: no limit. */
  readonly threadLimit?: number | undefined;
}

/** A limit on the calls of one tool, or of all tools together. */
export interface ToolCallLimit extends CallLimits {
  /** Default: all tools together. */
  readonly toolName?: string | undefined;
}

/** What a run ends with when a call of it is refused. */
export type ExitBehavior = "error" | "end" | "interrupt";

export interface DriftlockMiddlewareOptions<Mission extends MissionIdentity = MissionIdentity>
  extends CallLimits, LabelOptions {
  /** Judges every model call of the agent, and keeps its money. */
  policy: PolicyEngine;
  /** A budget of each run or thread, beside the policy's rules. Default: none. */
  mission?: MissionOption<Mission> | undefined;
  /** The models a rule may swap to, by name. Default: the agent's own model, made again with the other name. */
  models?: Models | undefined;
  /** The model's name where LangChain does not tell it: fakes, Azure deployments. Default: none, such a call is refused. */
  model?: string | undefined;
  /**
   * How a run ends when a call of it is refused. `"error"`: the rule's error, the very instance. `"end"`: an answer that says
   * so. `"interrupt"`: it waits for a person (needs a checkpointer). Default: a paused mission interrupts, all else is an error.
   */
  exitBehavior?: ExitBehavior | undefined;
  /** USD a call of a tool costs, by the tool's name or by the call. A tool without a cost is not charged. Default: none. */
  toolCosts?: Readonly<Record<string, number>> | ((call: ToolCall) => number | undefined) | undefined;
  /** A call beyond such a limit is answered by a message to the model, and the run goes on. Default: none. */
  toolCallLimits?: readonly ToolCallLimit[] | undefined;
  /** What a tool's own failure becomes: a message to the model, or an error of the run. Default "continue". */
  onFailure?: "continue" | "error" | ((error: Error) => string) | undefined;
  /** Names the middleware where an agent has two. Default: none. */
  id?: string | undefined;
}

const exits: readonly unknown[] = ["error", "end", "interrupt"];

/** What is not checked where it is used. Throws `ConfigError` naming the option and its value. */
export function checkOptions(options: unknown): void {
  const given = (options ?? {}) as Record<string, unknown>;
  const check = (field: string, isSound: boolean, problem: string, value: unknown = given[field]) => {
    if (!isSound) throw new ConfigError({ field, value, problem });
  };
  const { exitBehavior, toolCosts, toolCallLimits, onFailure, id } = given;
  checkPolicy(given["policy"]);
  checkModelName(given["model"]);
  checkMission(given["mission"]);
  check(
    "exitBehavior",
    exitBehavior === undefined || exits.includes(exitBehavior),
    `must be one of ${exits.join(", ")}`,
  );
  const isFailure = onFailure === undefined || onFailure === "continue" || onFailure === "error";
  check("onFailure", isFailure || typeof onFailure === "function", 'must be "continue", "error" or a function');
  check("id", id === undefined || isName(id), "must be a string");
  check(
    "toolCosts",
    toolCosts === undefined || isMap(toolCosts) || typeof toolCosts === "function",
    "must be USD by tool",
  );
  if (isMap(toolCosts)) {
    for (const [tool, cost] of Object.entries(toolCosts))
      check(`toolCosts.${tool}`, isCost(cost), "must be an amount in USD, 0 or more", cost);
  }
  checkLimits(given, "");
  check("toolCallLimits", toolCallLimits === undefined || Array.isArray(toolCallLimits), "must be an array of limits");
  ((toolCallLimits ?? []) as unknown[]).forEach((limit, i) => {
    const field = `toolCallLimits[${i}]`;
    check(field, isMap(limit), "must be an object { toolName?, runLimit?, threadLimit? }", limit);
    const { toolName, runLimit, threadLimit } = limit as Record<string, unknown>;
    check(`${field}.toolName`, toolName === undefined || isName(toolName), "must be a tool's name", toolName);
    const hasLimit = runLimit !== undefined || threadLimit !== undefined;
    check(field, hasLimit, "needs a runLimit or a threadLimit", limit);
    checkLimits(limit as Record<string, unknown>, `${field}.`);
  });
}

/** A cost a tool may have, in USD. */
export function isCost(cost: unknown): cost is number {
  return typeof cost === "number" && cost >= 0 && cost < Number.POSITIVE_INFINITY;
}

function checkLimits(limits: Readonly<Record<string, unknown>>, prefix: string): void {
  for (const name of ["runLimit", "threadLimit"]) {
    const value = limits[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && (value as number) >= 0))
      throw new ConfigError({ field: prefix + name, value, problem: "must be a whole number, 0 or more" });
  }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= 128;
}
