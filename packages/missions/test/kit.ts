import { PolicyEngine, type GovernedRequest, type PolicyEngineOptions } from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";
import { MissionBudgetExceededError, Missions, type MissionOptions } from "../src/index.js";

/** Models whose call of 1,000 output tokens costs what their name says, in cents. */
export const prices = {
  overrides: Object.fromEntries(
    [1, 3, 5, 10, 20].map((cents) => [`c${cents}`, { inputUsdPerMTok: 0, outputUsdPerMTok: cents * 10 }]),
  ),
};

/** A policy without rules on a ledger in memory, with a clock that stands. */
export function bench(options: Partial<PolicyEngineOptions> = {}) {
  const clock = (options.clock as ManualClock | undefined) ?? new ManualClock();
  const policy = new PolicyEngine({ rules: [], store: "memory", prices, ...options, clock });
  return { clock, policy, missions: new Missions({ policy }) };
}

/** A call of 1,000 output tokens whose bound is its bill. */
export function request(model = "c10", more: Partial<GovernedRequest> = {}): GovernedRequest {
  return { model, inputTokens: 0, maxOutputTokens: 1_000, ...more } as GovernedRequest;
}

const usage = { inputTokens: 0, outputTokens: 1_000 };

/** One governed call; answers the model that was sent. */
export async function call(policy: PolicyEngine, model = "c10", more: Partial<GovernedRequest> = {}): Promise<string> {
  let sent = "";
  await policy.run(
    request(model, more),
    (amended) => {
      sent = amended.model;
      return {};
    },
    () => usage,
  );
  return sent;
}

/** Calls until one is refused; answers how many went, and the refusal. */
export async function callUntilRefused(policy: PolicyEngine, model = "c10", most = 1_000) {
  for (let sent = 0; sent < most; sent++) {
    try {
      await call(policy, model);
    } catch (error) {
      return { sent, refusal: MissionBudgetExceededError.find(error), error };
    }
  }
  return { sent: most, refusal: undefined, error: undefined };
}

export async function refusalOf(work: Promise<unknown>): Promise<MissionBudgetExceededError> {
  try {
    await work;
  } catch (error) {
    const refusal = MissionBudgetExceededError.find(error);
    if (refusal !== undefined) return refusal;
    throw error;
  }
  throw new Error("was not refused");
}

export function optionsOf(more: Partial<MissionOptions> = {}): MissionOptions {
  return { name: "test", budgetUsd: 1, ...more };
}

/** Lets everything that is due by itself run. */
export async function settleDown(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
