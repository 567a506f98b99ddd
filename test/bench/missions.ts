import { Missions, type Mission } from "@driftlock/missions";
import { compare, round, type Effort, type Repeat, type Result } from "./measure.js";
import { engine, PROMPT, threeRules, USAGE } from "./policies.js";

/** What missions around a call add to it, in memory: the same policy with and without them, in turns. */
export async function missions(effort: Effort): Promise<Result[]> {
  return [await added(1, 5, effort), await added(3, 12, effort), await keeping(effort)];
}

const same = [{ role: "user", content: PROMPT }];

async function added(depth: number, most: number, effort: Effort): Promise<Result> {
  const bare = engine(threeRules());
  const { mission, policy, end } = await nested(depth);
  const settled = (of: typeof bare): Repeat => {
    return async (n) => {
      for (let i = 0; i < n; i++) {
        const auth = await of.authorize({ model: "gpt-4o", messages: same });
        await auth.settle(USAGE);
      }
    };
  };
  const inside = settled(policy);
  const { subject, lowerBound, rounds } = await compare((n) => mission.within(() => inside(n)), settled(bare), effort);
  await end();
  return {
    bench: `authorize + settle in ${depth} nested missions, beside without`,
    median: round(subject - lowerBound),
    unit: "µs/op",
    lowerBound: round(lowerBound),
    ratio: round(subject / lowerBound),
    target: `adds ≤ ${most} µs`,
    met: subject - lowerBound <= most,
    runs: rounds,
  };
}

/** The record of a mission of many calls. */
async function keeping(effort: Effort): Promise<Result> {
  const { mission, policy, missions: all, end } = await nested(1);
  const calls = Math.min(100_000, effort.manyCalls);
  await mission.within(async () => {
    for (let i = 0; i < calls; i++) {
      const auth = await policy.authorize({
        operation: `op-${i % 500}`,
        costUsd: 0.001,
        labels: { agent: `a${i % 300}` },
      });
      await auth.settle();
    }
  });
  const start = performance.now();
  await all.stats(mission.id);
  const took = performance.now() - start;
  await end();
  return {
    bench: `stats of a mission of ${calls} calls`,
    median: round(took),
    unit: "ms",
    target: "≤ 200 ms",
    met: took <= 200,
    runs: 1,
  };
}

async function nested(depth: number) {
  const policy = engine(threeRules());
  const all = new Missions({ policy });
  let mission: Mission | undefined;
  for (let level = 0; level < depth; level++) {
    const start = () => all.start({ name: "bench", budgetUsd: 5_000_000 });
    mission = mission === undefined ? await start() : await mission.within(start);
  }
  return { policy, missions: all, mission: mission!, end: () => mission!.end() };
}
