/** Who may use which model: some are refused, others are swapped for a cheaper one. */
import {
  PolicyEngine,
  PolicyViolationError,
  RestrictModelRule,
  TagBasedModelDowngradeRule,
  type Context,
} from "@driftlock/core";
import { startOpenAIServer } from "@driftlock/openai-server";
import OpenAI from "openai";

// Stands in for OpenAI, so that this runs offline.
await using server = await startOpenAIServer();
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });
const openai = new OpenAI();

const isFree = ({ labels }: Context) => labels["plan"] === "free";
const policy = new PolicyEngine({
  rules: [
    // Refuse GPT-4o to free users; its dated variants (gpt-4o-2024-08-06) count as it.
    new RestrictModelRule({ disallowedModels: ["gpt-4o", "gpt-4"], condition: isFree }),
    // Whatever else they ask for goes to the small model.
    new TagBasedModelDowngradeRule({ condition: isFree, downgradeTo: "gpt-4o-mini" }),
  ],
});

async function ask(plan: string, model: string): Promise<string> {
  const messages = [{ role: "user" as const, content: "What is a budget?" }];
  // `run` hands over the request as the policy allows it: send its model and its maximum, not your own.
  const answer = await policy.run({ model, messages, labels: { plan } }, (request) =>
    openai.chat.completions.create({ model: request.model, messages, max_completion_tokens: request.maxOutputTokens! }),
  );
  return `answered by ${answer.model}`;
}

for (const [plan, model] of [
  ["pro", "gpt-4o"],
  ["free", "gpt-4.1"],
  ["free", "gpt-4o-2024-08-06"],
] as const) {
  const outcome = await ask(plan, model).catch((error: unknown) => {
    const blocked = PolicyViolationError.find(error);
    if (blocked === undefined) throw error;
    return `blocked by ${blocked.ruleName}`;
  });
  console.log(`${plan} asks for ${model}: ${outcome}`);
}
