/** A research agent under a budget of $0.15: `--kill`, `--pause`; with OPENAI_API_KEY and `--live` on the real API. */
import { MonthlyBudgetRule, PolicyEngine } from "@driftlock/core";
import { govern } from "@driftlock/langchain";
import { MissionBudgetExceededError, Missions, type Mission, type OnExceed } from "@driftlock/missions";
import { startOpenAIServer } from "@driftlock/openai-server";
import { ChatOpenAI } from "@langchain/openai";
import { replies, research } from "../demo/agent.js";
import { intervention, line, opening, report, warning } from "../demo/print.js";

const isLive = process.argv.includes("--live");
if (isLive && !process.env["OPENAI_API_KEY"]) throw new Error("--live calls the real API: set OPENAI_API_KEY");
await using server = isLive ? undefined : await startOpenAIServer({ reply: replies });
if (server !== undefined) Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });

const onExceed: OnExceed = process.argv.includes("--kill")
  ? "kill"
  : process.argv.includes("--pause")
    ? "pause"
    : "downgrade";
const policy = new PolicyEngine({ rules: [new MonthlyBudgetRule({ maxUsd: 100 })], store: "memory" });
const missions = new Missions({ policy });
const missionId = "research";

const model = govern(new ChatOpenAI({ model: "gpt-4o", maxTokens: 2_800 }), {
  policy,
  models: { "gpt-4o-mini": new ChatOpenAI({ model: "gpt-4o-mini", maxTokens: 2_800 }) },
});

let mission: Mission | undefined;
policy.on("call-settled", ({ labels, receipt }) => line(labels["lc_agent_name"] ?? "", receipt.model, mission!));
policy.on("mission-intervened", (event) => {
  intervention(event);
  const approval = { addUsd: 0.05, by: "ada", approvalId: "1", reason: "the answer is worth it" };
  if (event.action === "pause") setTimeout(() => void missions.raise(missionId, approval), 500);
});

opening(isLive, 0.15, onExceed);
console.error = () => {}; // LangChain also writes every refusal there.
const options = { name: "research", missionId, budgetUsd: 0.15, expectedCalls: 7, onExceed, onPause: "wait" } as const;
try {
  await missions.run({ ...options, downgradeTo: "gpt-4o-mini", onWarning: warning }, async (m) => {
    mission = m;
    const answer = await research(model, "How do agents stay inside their budget?");
    console.log(`\nThe answer: ${answer.slice(0, 24)}…`);
  });
} catch (error) {
  const refused = MissionBudgetExceededError.find(error);
  if (refused === undefined) throw error;
  console.log(`\n${refused.message}`);
}
report(await missions.stats(missionId));
