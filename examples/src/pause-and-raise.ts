/** A run that stops in place when its budget is spent, and goes on where it stopped when somebody approves more. */
import { PolicyEngine } from "@driftlock/core";
import { Missions } from "@driftlock/missions";

const policy = new PolicyEngine({ rules: [], store: "memory" });
const missions = new Missions({ policy });

// Whoever approves: a button in a chat, another process. It hears of the pause and raises the budget.
policy.on("mission-intervened", ({ action, missionId, spentUsd, reason }) => {
  if (action !== "pause") return;
  console.log(`Paused at $${spentUsd}: ${reason}`);
  const approval = { addUsd: 0.2, by: "ada", approvalId: "approval-7", reason: "the answer is worth it" };
  setTimeout(() => void Promise.all([missions.raise(missionId, approval), missions.raise(missionId, approval)]), 50);
});

const answer = await missions.run(
  { name: "research", missionId: "r1", budgetUsd: 0.3, onExceed: "pause", onPause: "wait", maxRaiseUsd: 0.5 },
  async (m) => {
    for (let step = 1; step <= 5; step++) {
      // A tool of $0.10 stands for a model call. The fourth waits until the budget is raised.
      await (await policy.authorize({ operation: "search", costUsd: 0.1 })).settle();
      console.log(`Step ${step} done: $${m.spent.toFixed(2)} of $${m.budget.toFixed(2)}`);
    }
    return "the answer";
  },
);
console.log(`It came back with ${answer}.`);

const { interventions } = await missions.stats("r1");
for (const { action, by, reason, spentUsd } of interventions) {
  console.log(`${action} at $${spentUsd}${by === undefined ? "" : ` by ${by}`}: ${reason}`);
}
await missions.raise("r1", { addUsd: 0.4, by: "eve", approvalId: "approval-8" }).catch((error: Error) => {
  console.log(error.message);
});
