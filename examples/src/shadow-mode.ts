/** A new rule watches first: it tells what it would refuse, and refuses nothing. */
import { MaxCostPerRequestRule, MonthlyBudgetRule, PolicyEngine } from "@driftlock/core";
import { DriftlockCallbackHandler } from "@driftlock/langchain";
import { startOpenAIServer } from "@driftlock/openai-server";
import { ChatOpenAI } from "@langchain/openai";

// Stands in for OpenAI, so that this runs offline.
await using server = await startOpenAIServer();
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });

const policy = new PolicyEngine({
  rules: [
    new MonthlyBudgetRule({ maxUsd: 100 }), // enforced as before
    new MaxCostPerRequestRule({ maxUsd: 0.004, mode: "shadow" }), // would $0.004 a call be enough?
  ],
  store: "memory",
  // mode: "shadow" here would do the same for every rule.
});

const refusals: string[] = [];
policy.on("call-shadowed", ({ ruleName, model, metadata }) => {
  refusals.push(
    `  ${model} by ${ruleName}: $${String(metadata["estimatedCostUsd"])} of $${String(metadata["maxUsd"])}`,
  );
});

const handler = new DriftlockCallbackHandler({ policy });
let calls = 0;
for (const model of ["gpt-4o-mini", "gpt-4o", "gpt-4.1"]) {
  for (const maxTokens of [100, 500]) {
    const chat = new ChatOpenAI({ model, maxTokens, callbacks: [handler] });
    await chat.invoke("What is a budget?");
    calls++;
  }
}

console.log(
  `${calls} calls were made, ${server.requests.length} reached the server. Enforced, the rule would refuse ${refusals.length}:`,
);
for (const refusal of refusals) console.log(refusal);
