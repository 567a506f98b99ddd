/** Agents inside agents: each has a budget of its own, all of them together the one around them. */
import { PolicyEngine } from "@driftlock/core";
import { MissionBudgetExceededError, Missions, type MissionOptions } from "@driftlock/missions";

const policy = new PolicyEngine({ rules: [], store: "memory", waitMs: 0 });
const missions = new Missions({ policy });

/** An agent that works until it is stopped. A tool of $0.05 stands for its model calls. */
async function agent(options: MissionOptions): Promise<string> {
  return missions.run(options, async (m) => {
    try {
      for (;;) await (await policy.authorize({ operation: "search", costUsd: 0.05 })).settle();
    } catch (error) {
      const refused = MissionBudgetExceededError.find(error);
      if (refused === undefined) throw error;
      const by = refused.missionId === m.id ? "its own budget" : "the budget around it";
      return `${m.name} spent $${m.spent.toFixed(2)}, stopped by ${by}`;
    }
  });
}

await missions.run({ name: "report", budgetUsd: 1, missionId: "report" }, async (report) => {
  // Set aside before anybody starts: however greedy its siblings are, the fact check has its $0.20.
  const check = await missions.start({ name: "fact check", budgetUsd: 0.2, slice: { usd: 0.2 } });
  console.log(`Before anybody starts, $${report.held.toFixed(2)} is held for the fact check.`);

  const done = await Promise.all([
    agent({ name: "search 1", budgetUsd: 0.15 }),
    agent({ name: "search 2", budgetUsd: 5 }),
    agent({ name: "search 3", budgetUsd: 5 }),
  ]);
  for (const line of done) console.log(line);

  await check.within(() => agent({ name: "the fact checker", budgetUsd: 0.2 })).then(console.log);
  await check.end();
  console.log(
    `The report: $${report.spent.toFixed(2)} of $${report.budget}, $${report.nestedSpend.toFixed(2)} of it nested.`,
  );
});

const { status, graph } = await missions.stats("report");
console.log(`It is ${status}; ${graph.length} missions inside it called ${graph[0]!.to}.`);
