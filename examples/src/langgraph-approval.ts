/** A LangGraph graph whose agent pauses at its budget, waits for a person, and goes on where it stopped. */
import { MonthlyBudgetRule, PolicyEngine } from "@driftlock/core";
import { driftlockMiddleware } from "@driftlock/langchain/middleware";
import { Missions } from "@driftlock/missions";
import { startOpenAIServer } from "@driftlock/openai-server";
import { Command, END, isInterrupted, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { ChatOpenAI } from "@langchain/openai";
import { createAgent, tool, type HITLRequest } from "langchain";
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
const missions = new Missions({ policy });
const search = tool(() => "A budget is a plan for money.", {
  name: "search",
  description: "Searches the web.",
  schema: z.object({ query: z.string() }),
});
const researcher = createAgent({
  model: new ChatOpenAI({ model: "gpt-4o", maxTokens: 100 }),
  tools: [search],
  middleware: [
    driftlockMiddleware({
      policy,
      mission: { missions, per: "run", name: "research", budgetUsd: 0.02, onExceed: "pause", maxRaiseUsd: 1 },
      toolCosts: { search: 0.01 },
    }),
  ],
});
const graph = new StateGraph(MessagesAnnotation)
  .addNode("researcher", researcher.graph)
  .addEdge(START, "researcher")
  .addEdge("researcher", END)
  .compile({ checkpointer: new MemorySaver() });

const thread = { configurable: { thread_id: "42" } };
const paused = await graph.invoke({ messages: [{ role: "user", content: "What is a budget?" }] }, thread);
if (isInterrupted<HITLRequest>(paused)) {
  const [request] = paused.__interrupt__[0]!.value!.actionRequests;
  console.log(`Waiting for ${request?.name}, after ${server.requests.length} model calls.`);
}

// Later, perhaps in another process: somebody approves. The same approval is credited once.
const { messages } = await graph.invoke(new Command({ resume: { addUsd: 0.05, by: "ada" } }), thread);
console.log(`${messages.at(-1)?.text} (${server.requests.length} model calls)`);
