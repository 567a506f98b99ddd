import { DriftlockError, PolicyViolationError } from "@driftlock/core";
import { ToolMessage } from "@langchain/core/messages";
import type { ToolCall } from "@langchain/core/messages/tool";
import { ToolInvocationError } from "langchain";
import { hearRefusals } from "../refusals.js";
import type { AgentRun } from "./agent-run.js";
import { isCallLimit } from "./call-limit-rule.js";
import { isBubbleUp } from "./host.js";
import type { DriftlockMiddlewareOptions } from "./options.js";
import { refusedTool } from "./refusal-message.js";
import { BubbleUps, executeTool, governTool, untilAborted, type GovernedTool } from "./tool-execution.js";

/** How LangChain has a tool called: by what is between us and it, with another tool in its place if we want. */
interface Call<Answer> {
  readonly tool: object | undefined;
  /** Calls what is given instead of the tool, or the tool itself. */
  readonly run: (instead: object | undefined) => Answer | Promise<Answer>;
}

/**
 * Calls a tool inside the run and answers for it: what it gave, what the model is told of its failure, or a refusal, which stops
 * the run at its next gate.
 */
export async function callTool<Answer>(
  governed: GovernedTool,
  { tool, run: send }: Call<Answer>,
  onFailure: DriftlockMiddlewareOptions["onFailure"],
): Promise<Answer | ToolMessage> {
  const { run, call, signal } = governed;
  if (run.refusal !== undefined) return refusedTool(call, run.refusal);
  // A tool may deal with a refusal of its own calls. Where it fails after one, the run stops.
  let heard: PolicyViolationError | undefined;
  const hear = (refusal: PolicyViolationError) => (heard ??= refusal);
  const bubbleUps = new BubbleUps();
  // A tool that other middleware will only supply is governed once, around that middleware.
  const execute = async () =>
    tool === undefined
      ? executeTool(governed, async () => send(undefined))
      : send(governTool(tool, (once) => bubbleUps.pass(() => executeTool(governed, once))));
  try {
    const answer = await hearRefusals(hear, () => untilAborted(run.mission?.signal, execute));
    bubbleUps.rethrow();
    const isFailed = ToolMessage.isInstance(answer) && answer.status === "error";
    return (isFailed && refusedBy(call, run, run.refusal ?? heard)) || answer;
  } catch (error) {
    // What a subagent waits for is its own matter: the tool runs again, and is judged anew.
    if (isBubbleUp(error)) run.left();
    if (isBubbleUp(error) || signal?.aborted === true) throw error;
    const refusal = PolicyViolationError.find(error) ?? heard;
    return refusedBy(call, run, refusal) ?? failedTool(call, error, onFailure);
  }
}

/**
 * The answer of a tool that failed after a refusal which binds the run. The run is stopped at its next gate, not here, because
 * other middleware may stand in between and retry or answer what is thrown.
 */
function refusedBy(call: ToolCall, run: AgentRun, refusal: PolicyViolationError | undefined): ToolMessage | undefined {
  if (refusal === undefined || !run.isStoppedBy(refusal)) return undefined;
  run.refuse(refusal);
  return refusedTool(call, refusal);
}

/** What becomes of any other failure of a tool; a subagent's own limit is one. What kept us from judging ends the run. */
function failedTool(call: ToolCall, error: unknown, onFailure: DriftlockMiddlewareOptions["onFailure"]): ToolMessage {
  const refusal = PolicyViolationError.find(error);
  if (refusal === undefined && (onFailure === "error" || DriftlockError.find(error) !== undefined)) throw error;
  const content = typeof onFailure === "function" ? onFailure(asError(error)) : wordsFor(call, error, refusal);
  return new ToolMessage({ content, tool_call_id: call.id ?? "", name: call.name, status: "error" });
}

/** LangChain's own words, where it has some. */
function wordsFor({ name }: ToolCall, error: unknown, refusal: PolicyViolationError | undefined): string {
  if (refusal !== undefined && isCallLimit(refusal)) return `Tool call limit exceeded. Do not call '${name}' again.`;
  return ToolInvocationError.isInstance(error) ? error.message : `${String(error)}\n Please fix your mistakes.`;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
