import type { PolicyEngine } from "@driftlock/core";
import { compare, growth as grown, type Effort, type Result } from "./measure.js";
import { eightRules, engine, FastClock, PROMPT, threeRules, USAGE } from "./policies.js";

/** A call costs the same whatever came before it and however many users there are. */
export async function growth(effort: Effort): Promise<Result[]> {
  return [await settledCalls(effort), await users(effort)];
}

/** Between two calls of a history: a million calls are eleven days. */
const STEP_MS = 1_000;

async function settledCalls(effort: Effort): Promise<Result> {
  const clock = new FastClock();
  const old = engine(threeRules(), clock);
  await settle(old, effort.manyCalls, clock);
  const fresh = async (n: number) => {
    const young = new FastClock();
    await settle(engine(threeRules(), young), n, young);
  };
  const compared = await compare((n) => settle(old, n, clock), fresh, effort);
  return grown(`authorize + settle, 3 rules: after ${effort.manyCalls} settled calls, to a new engine`, compared, 1.2);
}

async function settle(policy: PolicyEngine, n: number, clock: FastClock): Promise<void> {
  for (let i = 0; i < n; i++) {
    clock.tick(STEP_MS);
    const auth = await policy.authorize({ model: "gpt-4o", messages: [{ role: "user", content: PROMPT }] });
    await auth.settle(USAGE);
  }
}

async function users(effort: Effort): Promise<Result> {
  const many = engine(eightRules("user"));
  const one = engine(eightRules("user"));
  let next = 0;
  // A step prime to the number of users: each comes once a round, and never the one before it in memory.
  const someUser = () => `user-${(next += 61_813) % effort.manyUsers}`;
  await settleFor(many, effort.manyUsers, someUser);
  const compared = await compare(
    (n) => settleFor(many, n, someUser),
    (n) => settleFor(one, n, () => "user-1"),
    effort,
  );
  return grown(`authorize + settle, 8 rules: ${effort.manyUsers} users, to 1`, compared, 2);
}

async function settleFor(policy: PolicyEngine, n: number, user: () => string): Promise<void> {
  for (let i = 0; i < n; i++) {
    const labels = { user_id: user(), plan: "pro" };
    const auth = await policy.authorize({ model: "gpt-4o", messages: [{ role: "user", content: PROMPT }], labels });
    await auth.settle(USAGE);
  }
}
