/** The handler on a whole chain: invoke, stream and parallel branches are all judged and metered, each call once. */
import { MonthlyBudgetRule, PolicyEngine, PolicyViolationError, withLabels } from "@driftlock/core";
import { DriftlockCallbackHandler } from "@driftlock/langchain";
import { startOpenAIServer } from "@driftlock/openai-server";
import { StringOutputParser } from "@langchain/core/output_parsers";
import { ChatPromptTemplate } from "@langchain/core/prompts";
import { RunnableParallel } from "@langchain/core/runnables";
import { ChatOpenAI } from "@langchain/openai";

// Stands in for OpenAI, so that this runs offline.
await using server = await startOpenAIServer();
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });
const model = new ChatOpenAI({ model: "gpt-4o", maxTokens: 100 });

const policy = new PolicyEngine({ rules: [new MonthlyBudgetRule({ maxUsd: 0.002, scope: "user" })], store: "memory" });
policy.on("call-settled", ({ labels, receipt }) => {
  const { model, costUsd, heldUsd } = receipt;
  console.log(`  ${labels["user_id"]}: ${model}, $${costUsd.toFixed(6)} of $${heldUsd.toFixed(6)} held`);
});

// `labels` and `labelsFrom` say what a call is for; by default `user_id` and `thread_id` come from the run's metadata.
const handler = new DriftlockCallbackHandler({ policy, labels: { team: "search" } });
const config = { callbacks: [handler], metadata: { user_id: "ada" } };

const about = (topic: string) =>
  ChatPromptTemplate.fromTemplate(`{question} Think of ${topic}.`).pipe(model).pipe(new StringOutputParser());
const chain = about("money");
const input = { question: "What is a budget?" };

console.log("invoke");
await chain.invoke(input, config);

console.log("stream");
for await (const _ of await chain.stream(input, config));

console.log("parallel branches");
await RunnableParallel.from({ money: about("money"), hours: about("hours") }).invoke(input, config);

console.log("labels around code, where no config reaches");
await withLabels({ user_id: "bob" }, () => chain.invoke(input, { callbacks: [handler] }));

console.log("until the month is used up");
const inputs = Array.from({ length: 9 }, () => input);
const refused = await chain.batch(inputs, config).catch((error: unknown) => error);
// The error is the policy's own, however the chain was called.
console.log(`  ${PolicyViolationError.find(refused)?.ruleName}`);
