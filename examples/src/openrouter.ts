/** OpenRouter tells what each answer costs: that is what is charged, whatever the list says. */
import { MonthlyBudgetRule, PolicyEngine, PolicyViolationError } from "@driftlock/core";
import { governFetch } from "@driftlock/core/fetch";
import { startOpenAIServer } from "@driftlock/openai-server";
import OpenAI from "openai";

// Stands in for OpenRouter, so that this runs offline.
await using server = await startOpenAIServer({ reply: { usage: { completionTokens: 300, costUsd: 0.0021 } } });

const policy = new PolicyEngine({ rules: [new MonthlyBudgetRule({ maxUsd: 0.01 })], store: "memory" });
policy.on("call-settled", ({ receipt: { model, heldUsd, costUsd } }) =>
  console.log(`  ${model}: $${heldUsd.toFixed(6)} held, $${costUsd} charged`),
);

const openrouter = new OpenAI({
  baseURL: server.url, // https://openrouter.ai/api/v1
  apiKey: "any",
  fetch: governFetch(policy, { provider: "openrouter" }), // known by itself at OpenRouter's own address
});

const messages = [{ role: "user" as const, content: "What is a budget?" }];
const call = { model: "anthropic/claude-haiku-4.5", messages, max_tokens: 400 };

console.log("a whole answer");
await openrouter.chat.completions.create(call);
console.log("a stream");
for await (const _ of await openrouter.chat.completions.create({
  ...call,
  stream: true,
  stream_options: { include_usage: true },
}));

console.log("until the month is used up");
try {
  for (;;) await openrouter.chat.completions.create(call);
} catch (error) {
  const blocked = PolicyViolationError.find(error);
  if (blocked === undefined) throw error;
  console.log(`  blocked by ${blocked.ruleName} at $${String(blocked.decision.metadata["spentUsd"])}`);
}

// A list of models to fall back to is refused: any of them could answer, and the policy judges one.
const fallback = { ...call, models: ["openai/gpt-4o"] };
await openrouter.chat.completions.create(fallback).catch((error: Error) => console.log(error.message));
