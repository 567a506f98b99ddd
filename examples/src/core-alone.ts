/** Core without LangChain: the OpenAI SDK, authorized and settled by hand; then a stream. */
import { MonthlyBudgetRule, PolicyEngine, usageFromOpenAI } from "@driftlock/core";
import { startOpenAIServer } from "@driftlock/openai-server";
import OpenAI from "openai";

// Stands in for OpenAI, so that this runs offline.
await using server = await startOpenAIServer();
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });
const openai = new OpenAI();

const policy = new PolicyEngine({ rules: [new MonthlyBudgetRule({ maxUsd: 100 })], store: "memory" });
const messages = [{ role: "user" as const, content: "What is a budget?" }];
const usd = (amount: number) => `$${amount.toFixed(6)}`;

// 1. Set the worst case aside. This throws when a rule refuses; then nothing is held.
const auth = await policy.authorize({ model: "gpt-4o", messages, labels: { user_id: "ada" } });
console.log(`Held ${usd(auth.heldUsd)} for at most ${auth.request.maxOutputTokens} tokens.`);

// 2. Send what was granted: `model` and `maxOutputTokens` are the policy's.
const response = await openai.chat.completions.create({
  model: auth.request.model,
  messages,
  max_completion_tokens: auth.request.maxOutputTokens!,
});

// 3. Settle it to what it really cost.
const receipt = await auth.settle(usageFromOpenAI(response.usage));
console.log(`Settled at ${usd(receipt.costUsd)}: ${response.choices[0]!.message.content}`);

// A stream settles by itself at its end, or where it is broken off.
const granted = await policy.authorize({ model: "gpt-4o", messages });
const stream = await openai.chat.completions.create({
  model: granted.request.model,
  messages,
  max_completion_tokens: granted.request.maxOutputTokens!,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of granted.meter(stream)) process.stdout.write(chunk.choices[0]?.delta.content ?? "");

const [month] = await policy.usage();
console.log(`\nThe month: ${usd(month!.spentUsd)} spent, ${usd(month!.heldUsd)} held, of $${month!.maxUsd}.`);
