import { createHash } from "node:crypto";
import type { HITLRequest } from "langchain";

/** What an approval is asked for: everything of a refusal that outlives the process. */
export interface Refused {
  readonly message: string;
  /** The mission whose budget would let the run go on, if it pauses. */
  readonly missionId?: string | undefined;
  /** Nobody can let it go on: its mission was killed. */
  readonly isFinal?: boolean | undefined;
}

/** What a person decided. */
export type Decision =
  | { readonly kind: "raise"; readonly addUsd: number; readonly by: string }
  | { readonly kind: "retry" }
  | { readonly kind: "reject"; readonly message: string | undefined }
  | { readonly kind: "invalid"; readonly problem: string };

const RAISE = "raise_budget";
const RETRY = "retry_model_call";

/** The most that one decision may add, in USD. The missions' own `maxRaiseUsd` is checked after it. */
const MAX_RAISE_USD = 1_000_000;

const raiseSchema = {
  type: "object",
  properties: {
    addUsd: { type: "number", exclusiveMinimum: 0, description: "USD to add to the budget" },
    by: { type: "string", minLength: 1, description: "who approves it" },
  },
  required: ["addUsd", "by"],
};

/**
 * The payload of an interrupt, as LangChain's human-in-the-loop middleware writes it. `problem`: what was wrong with the
 * answer before.
 */
export function approvalRequest({ message, missionId }: Refused, problem: string | undefined): HITLRequest {
  const description = problem === undefined ? message : `${message} The last answer was not used: ${problem}.`;
  if (missionId === undefined) {
    return {
      actionRequests: [{ name: RETRY, args: {}, description }],
      reviewConfigs: [{ actionName: RETRY, allowedDecisions: ["approve", "reject"] }],
    };
  }
  return {
    actionRequests: [{ name: RAISE, args: { missionId }, description }],
    reviewConfigs: [{ actionName: RAISE, allowedDecisions: ["edit", "reject"], argsSchema: raiseSchema }],
  };
}

/** What `Command({ resume })` brought: a raise `{ addUsd, by }`, or a response of the human-in-the-loop kind. */
export function readDecision(resume: unknown, { missionId }: Refused): Decision {
  const decisions = field(resume, "decisions");
  if (!Array.isArray(decisions)) return missionId === undefined ? notAnswer() : readRaise(resume);
  if (decisions.length !== 1) return invalid("one decision is needed");
  const [decision] = decisions as unknown[];
  const type = field(decision, "type");
  if (type === "reject") {
    const message = field(decision, "message");
    return { kind: "reject", message: typeof message === "string" ? message : undefined };
  }
  if (missionId === undefined) return type === "approve" ? { kind: "retry" } : notAnswer();
  if (type === "edit") return readRaise(field(field(decision, "editedAction"), "args"));
  return invalid('an approval needs the amount: { addUsd, by }, or a decision of type "edit" with these arguments');
}

/** The same in every process and every time the node runs again: what makes a raise count once. */
export function approvalId(configurable: Readonly<Record<string, unknown>>, nth: number): string {
  const { thread_id: thread, checkpoint_ns: task } = configurable;
  return createHash("sha256")
    .update(JSON.stringify([thread, task, nth]))
    .digest("hex");
}

function readRaise(value: unknown): Decision {
  const addUsd = field(value, "addUsd");
  const by = field(value, "by");
  if (typeof addUsd !== "number" || !(addUsd > 0) || addUsd > MAX_RAISE_USD)
    return invalid("addUsd must be an amount above 0, in USD");
  if (typeof by !== "string" || by.trim() === "" || by.length > 256) return invalid("by must say who approves it");
  return { kind: "raise", addUsd, by };
}

function notAnswer(): Decision {
  return invalid('a decision of type "approve" or "reject" is needed: { decisions: [{ type: "approve" }] }');
}

function invalid(problem: string): Decision {
  return { kind: "invalid", problem };
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
