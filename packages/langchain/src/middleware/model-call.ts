import { PolicyViolationError, type Rule } from "@driftlock/core";
import type { BaseCallbackHandler } from "@langchain/core/callbacks/base";
import { hearRefusals } from "../refusals.js";
import type { AgentRun } from "./agent-run.js";
import { withHandler } from "./host.js";

/** What a model call of an agent came to: middleware between us and the model may have answered a refusal. */
export type Called<T> = { readonly answer: T } | { readonly refusal: PolicyViolationError };

/**
 * Calls the model inside the run: with its mission and `rules`, and with `handler` on every call that is made in it. After
 * one refusal nothing more is let through, whoever tries again.
 */
export async function callModel<T>(
  run: AgentRun,
  rules: readonly Rule[],
  handler: BaseCallbackHandler,
  call: () => Promise<T>,
): Promise<Called<T>> {
  let refusal: PolicyViolationError | undefined;
  const hear = (heard: PolicyViolationError) => {
    refusal ??= heard;
    run.refuse(heard);
  };
  try {
    const answer = await hearRefusals(hear, () => run.inside(() => withHandler(handler, call), rules));
    return refusal === undefined ? { answer } : { refusal };
  } catch (error) {
    const found = refusal ?? PolicyViolationError.find(error);
    if (found === undefined) throw error;
    hear(found);
    return { refusal: found };
  }
}
