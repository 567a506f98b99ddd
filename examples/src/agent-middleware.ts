/** An agent inside its budget: model calls, a paid tool, a budget for each run, and a stop that retries cannot swallow. */
import { MonthlyBudgetRule, PolicyEngine, PolicyViolationError } from "@driftlock/core";
import { driftlockMiddleware } from "@driftlock/langchain/middleware";
import { Missions } from "@driftlock/missions";
import { startOpenAIServer } from "@driftlock/openai-server";
import { ChatOpenAI } from "@langchain/openai";
import { createAgent, modelRetryMiddleware, tool } from "langchain";
import { z } from "zod";

// Stands in for OpenAI, so that this runs offline: it searches three times, then answers.
await using server = await startOpenAIServer({
  reply: ({ body }) =>
    (body.messages?.filter(({ role }) => role === "tool").length ?? 0) < 3
      ? { toolCalls: [{ name: "search", arguments: { query: "budgets" } }] }
      : { text: "Spend less than you have." },
});
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });

const policy = new PolicyEngine({ rules: [new MonthlyBudgetRule({ maxUsd: 100 })], store: "memory" });
policy.on("call-settled", ({ labels, receipt }) =>
  console.log(`  ${labels["langgraph_node"]}: ${receipt.model}, $${receipt.costUsd.toFixed(4)}`),
);
const missions = new Missions({ policy });
const search = tool(() => "A budget is a plan for money.", {
  name: "search",
  description: "Searches the web.",
  schema: z.object({ query: z.string() }),
});

const agentWith = (budgetUsd: number) =>
  createAgent({
    name: "researcher",
    model: new ChatOpenAI({ model: "gpt-4o", maxTokens: 100 }),
    tools: [search],
    middleware: [
      driftlockMiddleware({
        policy,
        mission: { missions, per: "run", name: "research", budgetUsd },
        toolCosts: { search: 0.01 },
      }),
      modelRetryMiddleware(),
    ],
  });
const question = { messages: [{ role: "user", content: "What is a budget?" }] };

console.log("a run with $0.05");
const { messages } = await agentWith(0.05).invoke(question);
console.log(`  ${messages.at(-1)?.text}`);

console.log("a run with $0.02");
const refused = await agentWith(0.02)
  .invoke(question)
  .catch((error: unknown) => PolicyViolationError.find(error));
console.log(refused instanceof Error ? `  ${refused.name}` : "  answered");
