import type { PolicyEngine } from "@driftlock/core";
import { DriftlockCallbackHandler, govern } from "@driftlock/langchain";
import { FakeListChatModel } from "@langchain/core/utils/testing";
import { compare, round, type Effort, type Repeat, type Result } from "./measure.js";
import { engine, PROMPT, threeRules } from "./policies.js";

/** What a governed call adds to LangChain's own: its fake model's `invoke`, with a prompt of 1 KB and three rules. */
export async function langchain(effort: Effort): Promise<Result[]> {
  const cases = [
    ["a callback handler", 40, handled(engine(threeRules()))],
    ["govern", 120, governed(engine(threeRules()))],
  ] as const;
  const results: Result[] = [];
  for (const [name, target, model] of cases) {
    const { subject, lowerBound, rounds } = await compare(invoked(model), invoked(fake()), effort);
    const added = subject - lowerBound;
    results.push({
      bench: `LangChain: ${name} over the bare fake's invoke`,
      median: round(added),
      unit: "µs/op",
      lowerBound: round(lowerBound),
      target: `≤ ${target} µs`,
      met: added <= target,
      runs: rounds,
      note: "what is added; the lower bound is the fake's own time",
    });
  }
  return results;
}

interface Invokable {
  invoke(input: string): Promise<unknown>;
}

const fake = () => new FakeListChatModel({ responses: ["Hello"] });

function handled(policy: PolicyEngine): Invokable {
  const callbacks = [new DriftlockCallbackHandler({ policy, model: "gpt-4o" })];
  return new FakeListChatModel({ responses: ["Hello"], callbacks });
}

function governed(policy: PolicyEngine): Invokable {
  return govern(fake(), { policy, model: "gpt-4o" });
}

function invoked(model: Invokable): Repeat {
  return async (n) => {
    for (let i = 0; i < n; i++) await model.invoke(PROMPT);
  };
}
