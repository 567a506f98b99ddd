/** Free and pro plans: each user's limits come from their plan, looked up at every call. */
import { BudgetRule, PolicyEngine, PolicyViolationError, type Context } from "@driftlock/core";
import { TagBasedModelDowngradeRule, VelocityLimitRule } from "@driftlock/core";
import { governFetch } from "@driftlock/core/fetch";
import { startOpenAIServer } from "@driftlock/openai-server";
import OpenAI from "openai";

// Stands in for OpenAI, so that this runs offline. Every answer uses 200 tokens.
await using server = await startOpenAIServer({ reply: { usage: { completionTokens: 200 } } });
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });

const plans = {
  free: { usdADay: 0.0005, callsAMinute: 10 },
  pro: { usdADay: 5, callsAMinute: 60 },
};
const users = new Map<string, keyof typeof plans>([["ada", "pro"]]); // your database

async function planOf({ labels }: Context) {
  return plans[users.get(labels["user_id"]!) ?? "free"];
}

const policy = new PolicyEngine({
  rules: [
    // Free users are answered by the small model, whichever they ask for.
    new TagBasedModelDowngradeRule({
      condition: ({ labels }) => !users.has(labels["user_id"]!),
      downgradeTo: "gpt-4o-mini",
    }),
    new BudgetRule({ maxUsd: async (call) => (await planOf(call)).usdADay, per: "day", scope: "user" }),
    new VelocityLimitRule({
      maxRequests: async (call) => (await planOf(call)).callsAMinute,
      windowSeconds: 60,
      scope: "user",
    }),
  ],
  store: "memory",
});
// Who is calling stands in each request. Take it from your session, not from what a browser sent.
const fetch = governFetch(policy, { labels: ({ body }) => ({ user_id: (body["user"] as string) ?? "nobody" }) });
const openai = new OpenAI({ fetch });

for (const user of ["ada", "bob"]) {
  for (let call = 1; call <= 6; call++) {
    const messages = [{ role: "user" as const, content: "What is a budget?" }];
    try {
      const answer = await openai.chat.completions.create({ model: "gpt-4o", messages, max_tokens: 200, user });
      console.log(`${user}, call ${call}: answered by ${answer.model}`);
    } catch (error) {
      const blocked = PolicyViolationError.find(error);
      if (blocked === undefined) throw error;
      console.log(`${user}, call ${call}: blocked by ${blocked.ruleName}`);
      break;
    }
  }
}
