/** The OpenAI SDK under a policy: give its client a governed `fetch`, and nothing else in the code changes. Then Anthropic's. */
import Anthropic from "@anthropic-ai/sdk";
import {
  MaxCostPerRequestRule,
  MonthlyBudgetRule,
  PolicyEngine,
  PolicyViolationError,
  VelocityLimitRule,
} from "@driftlock/core";
import { governFetch } from "@driftlock/core/fetch";
import { startOpenAIServer } from "@driftlock/openai-server";
import OpenAI from "openai";

// Stands in for OpenAI, so that this runs offline.
await using server = await startOpenAIServer();
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });

const policy = new PolicyEngine({
  rules: [
    new MonthlyBudgetRule({ maxUsd: 100 }), // block at $100 a month for the whole workspace
    new MaxCostPerRequestRule({ maxUsd: 0.1 }), // block single calls above $0.10
    new VelocityLimitRule({ maxRequests: 60, windowSeconds: 60 }), // block above 60 calls a minute
  ],
  store: "memory", // or a Keyv, to survive a restart
});
const openai = new OpenAI({ fetch: governFetch(policy) });

const report = "Income rose and so did spending. ".repeat(5_000);
for (const content of ["What is a budget?", `Sum this up: ${report}`]) {
  try {
    const answer = await openai.chat.completions.create({ model: "gpt-4o", messages: [{ role: "user", content }] });
    console.log(answer.choices[0]!.message.content);
  } catch (error) {
    const blocked = PolicyViolationError.find(error);
    if (blocked === undefined) throw error;
    console.log(`Blocked by ${blocked.ruleName}:`, blocked.decision.metadata);
  }
}

// A stream is settled at its end, or where it is broken off.
const messages = [{ role: "user" as const, content: "And a ledger?" }];
const stream = await openai.chat.completions.create({ model: "gpt-4o", messages, stream: true });
for await (const chunk of stream) process.stdout.write(chunk.choices[0]!.delta.content ?? "");

// The same policy over another provider's client: one budget for both.
const anthropic = new Anthropic({ baseURL: server.origin, apiKey: "any", fetch: governFetch(policy) });
const answer = await anthropic.messages.create({ model: "claude-haiku-4-5", max_tokens: 100, messages });
console.log(`\n${answer.model}: ${answer.usage.output_tokens} tokens`);

const [month] = await policy.usage();
console.log(`Spent $${month!.spentUsd.toFixed(6)} of $${month!.maxUsd}.`);
// Where the code sets no maximum the policy does: a call cannot cost more than what is held for it.
const maximums = server.requests.map(({ body }) => body.max_completion_tokens ?? body.max_tokens);
console.log(`The server saw ${maximums.length} requests, for at most ${maximums.join(", ")} tokens.`);
