import {
  PolicyEngine,
  PolicyViolationError,
  type GovernedRequest,
  type PolicyEngineOptions,
  type Rule,
} from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";

/** $0.001 a token, in and out. */
export const overrides = { flat: { inputUsdPerMTok: 1_000, outputUsdPerMTok: 1_000 } };

export function policyOf(rules: readonly Rule[], options: Partial<PolicyEngineOptions> = {}) {
  const clock = (options.clock as ManualClock | undefined) ?? new ManualClock();
  return { clock, policy: new PolicyEngine({ store: "memory", prices: { overrides }, ...options, clock, rules }) };
}

export const costing = (usd: number): GovernedRequest => ({
  model: "flat",
  inputTokens: 0,
  maxOutputTokens: Math.round(usd * 1_000),
});
export const answering = (usd: number) => ({ usage: { prompt_tokens: 0, completion_tokens: Math.round(usd * 1_000) } });

export const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Sends `n` calls of `usd` at once; how many reached the provider. */
export async function parallel(
  policy: PolicyEngine,
  n: number,
  usd: number,
  call: () => unknown = () => answering(usd),
): Promise<number> {
  let sent = 0;
  const outcomes = await Promise.allSettled(
    Array.from({ length: n }, () =>
      policy.run(costing(usd), async () => {
        sent++;
        await turn();
        return call();
      }),
    ),
  );
  for (const outcome of outcomes) {
    if (
      outcome.status === "rejected" &&
      !PolicyViolationError.isInstance(outcome.reason) &&
      (outcome.reason as { expected?: boolean }).expected !== true
    )
      throw outcome.reason;
  }
  return sent;
}

export async function spent(policy: PolicyEngine): Promise<number> {
  const [row] = await policy.usage();
  return row!.spentUsd;
}

export async function held(policy: PolicyEngine): Promise<number> {
  const [row] = await policy.usage();
  return row!.heldUsd;
}

/** Whether the call was refused by a rule; any other failure is thrown. */
export async function isRefused(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return false;
  } catch (error) {
    if (PolicyViolationError.isInstance(error)) return true;
    throw error;
  }
}
