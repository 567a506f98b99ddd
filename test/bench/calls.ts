import type { GovernedRequest, PolicyEngine } from "@driftlock/core";
import { compare, perOperation, type Effort, type Repeat, type Result } from "./measure.js";
import { eightRules, engine, PROMPT, threeRules, USAGE } from "./policies.js";

const labels = { user_id: "ada", plan: "pro" };

/** A whole governed call without the call: authorize and settle with a prompt of 1 KB. */
export async function calls(effort: Effort): Promise<Result[]> {
  const same = [{ role: "user", content: PROMPT }];
  const cases = [
    [
      "3 rules, a fresh message",
      6,
      engine(threeRules()),
      () => ({ model: "gpt-4o", messages: [{ role: "user", content: PROMPT }] }),
    ],
    ["3 rules, the same message", 6, engine(threeRules()), () => ({ model: "gpt-4o", messages: same })],
    [
      "8 rules, a fresh message",
      10,
      engine(eightRules()),
      () => ({ model: "gpt-4o", messages: [{ role: "user", content: PROMPT }], labels }),
    ],
    ["8 rules, the same message", 10, engine(eightRules()), () => ({ model: "gpt-4o", messages: same, labels })],
  ] as const;
  const results: Result[] = [];
  for (const [name, target, policy, request] of cases) {
    results.push(
      perOperation(`authorize + settle: ${name}`, await compare(settled(policy, request), bareAwaits, effort), target),
    );
  }
  return results;
}

function settled(policy: PolicyEngine, request: () => GovernedRequest): Repeat {
  return async (n) => {
    for (let i = 0; i < n; i++) {
      const auth = await policy.authorize(request());
      await auth.settle(USAGE);
    }
  };
}

/** The awaits of a call and nothing else: rules that may be asynchronous, a store that may be, and their callers. */
const bareAwaits: Repeat = async (n) => {
  for (let i = 0; i < n; i++) {
    const { settle } = await authorize(i);
    await settle();
  }
};

async function authorize(id: number) {
  const admitted = await admit(id);
  return { settle: () => settle(admitted) };
}
async function admit(id: number) {
  const decided = await decide(id);
  return { decided };
}
async function decide(id: number) {
  return { id };
}
async function settle(admitted: { decided: { id: number } }) {
  return admitted.decided;
}
