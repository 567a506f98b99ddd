/** Three rules on a LangChain model: each call is judged before it is sent. */
import {
  MaxCostPerRequestRule,
  MonthlyBudgetRule,
  PolicyEngine,
  PolicyViolationError,
  VelocityLimitRule,
} from "@driftlock/core";
import { DriftlockCallbackHandler } from "@driftlock/langchain";
import { startOpenAIServer } from "@driftlock/openai-server";
import { ChatOpenAI } from "@langchain/openai";

// Stands in for OpenAI, so that this runs offline.
await using server = await startOpenAIServer({ reply: { text: "A plan for money that is not spent yet." } });
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });

const policy = new PolicyEngine({
  rules: [
    new MonthlyBudgetRule({ maxUsd: 100 }), // block at $100 a month for the whole workspace
    new MaxCostPerRequestRule({ maxUsd: 0.1 }), // block single calls above $0.10
    new VelocityLimitRule({ maxRequests: 60, windowSeconds: 60 }), // block above 60 calls a minute
  ],
  store: "memory", // or a Keyv, to survive a restart
});
const handler = new DriftlockCallbackHandler({ policy });
const model = new ChatOpenAI({ model: "gpt-4o", maxTokens: 500, callbacks: [handler] });

const report = "Income rose and so did spending. ".repeat(5_000);
for (const question of ["What is a budget?", `Sum this up: ${report}`]) {
  try {
    const answer = await model.invoke(question);
    console.log(answer.text);
  } catch (error) {
    const blocked = PolicyViolationError.find(error);
    if (blocked === undefined) throw error;
    console.log(`Blocked by ${blocked.ruleName}:`, blocked.decision.metadata);
  }
}

console.log(`The server saw ${server.requests.length} request.`);
