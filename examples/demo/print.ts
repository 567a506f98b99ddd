/** How the demo looks; what it does stands in `src/demo.ts`. */
import type { Intervention, Mission, MissionStats } from "@driftlock/missions";

const usd = (amount: number) => `$${amount.toFixed(3)}`;
const WIDTH = 20;

export function opening(isLive: boolean, budgetUsd: number, variant: string): void {
  const provider = isLive ? "OpenAI" : "a local server that speaks OpenAI's protocol";
  console.log(`A research agent with ${usd(budgetUsd)} for the whole run, on ${provider}.`);
  console.log(`When the money gets tight it is to ${variant}.\n`);
}

/** One closed call: who made it with which model, how much of the budget is spent, and what the run will cost. */
export function line(agent: string, model: string, { spent, budget, projection }: Mission): void {
  const full = Math.min(WIDTH, Math.round((WIDTH * spent) / budget));
  const bar = "█".repeat(full) + "░".repeat(WIDTH - full);
  const forecast = projection === null ? "" : `, ${usd(projection.low)} to ${usd(projection.high)} in the end`;
  console.log(`${agent.padEnd(20)} ${model.padEnd(12)} ${bar} ${usd(spent)}${forecast}`);
}

export function warning({ spent, budget }: Mission): void {
  console.log(`  ! warning: ${usd(spent)} of ${usd(budget)} spent`);
}

export function intervention({ action, reason, by, addUsd, downgradeTo }: Intervention): void {
  const what = action === "raise" ? `raised by ${usd(addUsd!)} (${by})` : action;
  console.log(`  ! ${what}${downgradeTo === null ? "" : ` to ${downgradeTo}`}: ${reason}`);
}

export function report(stats: MissionStats): void {
  console.log(`\nThe mission "${stats.name}" is ${stats.status}.`);
  console.log(`  ${usd(stats.totalCostUsd)} of ${usd(stats.budgetUsd)} spent in ${stats.calls} calls`);
  for (const { model, calls, costUsd } of stats.models)
    console.log(`  ${model.padEnd(12)} ${calls} calls, ${usd(costUsd)}`);
  const [dearest] = stats.agents;
  console.log(`  dearest step: ${dearest!.agent}, ${usd(dearest!.costUsd)}`);
  console.log(`  interventions: ${stats.interventions.map(({ action }) => action).join(", ") || "none"}`);
}
