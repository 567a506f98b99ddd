/** A monthly cap for every user, exact also when a user's calls run in parallel. */
import { PerUserBudgetRule, PolicyEngine, PolicyViolationError } from "@driftlock/core";
import { DriftlockCallbackHandler } from "@driftlock/langchain";
import { startOpenAIServer } from "@driftlock/openai-server";
import { ChatOpenAI } from "@langchain/openai";

// Stands in for OpenAI, so that this runs offline. Every answer uses all of its 200 tokens.
await using server = await startOpenAIServer({ reply: { usage: { completionTokens: 200 } } });
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });

const policy = new PolicyEngine({
  rules: [
    new PerUserBudgetRule({
      userBudgets: { power_user: 0.02, free_tier: 0.003 },
      defaultMaxUsd: 0.008, // for everybody else
    }),
  ],
  store: "memory",
});
const handler = new DriftlockCallbackHandler({ policy });
const model = new ChatOpenAI({ model: "gpt-4o", maxTokens: 200, callbacks: [handler] });

for (const user_id of ["power_user", "free_tier", "somebody"]) {
  // Made once, the handler serves everybody: who is calling stands in the metadata of each run.
  const questions = Array.from({ length: 6 }, () => "Tell me more.");
  const answers = await model.batch(questions, { metadata: { user_id } }, { returnExceptions: true });

  const refused = answers.filter((answer) => PolicyViolationError.isInstance(answer)).length;
  const [month] = await policy.usage({ labels: { user_id } });
  const spent = `$${month!.spentUsd.toFixed(5)} of $${month!.maxUsd} spent`;
  console.log(`${user_id}: ${answers.length - refused} of 6 answered, ${spent}`);
}
