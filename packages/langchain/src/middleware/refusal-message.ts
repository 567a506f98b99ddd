import type { PolicyViolationError } from "@driftlock/core";
import { AIMessage, ToolMessage, type BaseMessage } from "@langchain/core/messages";
import type { ToolCall } from "@langchain/core/messages/tool";
import { missionOf, type AgentRun } from "./agent-run.js";
import type { Refused } from "./approval.js";

const KEY = "driftlock_refused";

/**
 * A refusal on its way from the model's node to the next hook, as the answer of the model that was not called: an error
 * thrown in between would be wrapped, or retried and then answered, by other middleware. It holds what an approval needs, so
 * that a run can go on in another process.
 */
export function refusalMessage(refused: Refused): AIMessage {
  return new AIMessage({
    id: crypto.randomUUID(),
    content: refused.message,
    response_metadata: { [KEY]: refused },
  });
}

/** The answer of a tool that was refused: what the model is told, unless the run goes on and the tool is called again. */
export function refusedTool({ id = "", name }: ToolCall, refusal: PolicyViolationError): ToolMessage {
  return new ToolMessage({
    id: crypto.randomUUID(),
    content: refusal.message,
    tool_call_id: id,
    name,
    status: "error",
    response_metadata: { [KEY]: { message: refusal.message } satisfies Refused },
  });
}

/** The refused tools at the end of a conversation. */
export function refusedTools(messages: readonly BaseMessage[]): BaseMessage[] {
  const from = messages.findLastIndex((message) => !ToolMessage.isInstance(message));
  return messages.slice(from + 1).filter((message) => readRefusal(message) !== undefined);
}

/** What of a refusal outlives the process. */
export function refusedOf(refusal: PolicyViolationError, run: AgentRun): Refused {
  const missionId = missionOf(refusal);
  const { action } = refusal as { action?: unknown };
  const isPause = missionId !== undefined && (action === "pause" || run.pausesIn(missionId));
  return {
    message: refusal.message,
    ...(isPause && { missionId }),
    ...(action === "kill" && { isFinal: true }),
  };
}

/** The refusal that a message carries. */
export function readRefusal(message: BaseMessage | undefined): Refused | undefined {
  return (message?.response_metadata as { [KEY]?: Refused } | undefined)?.[KEY];
}
