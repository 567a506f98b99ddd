/** A chat model that the policy may change: a cheaper model for the free plan, and never more output than was granted. */
import { MaxCostPerRequestRule, MonthlyBudgetRule, PolicyEngine, TagBasedModelDowngradeRule } from "@driftlock/core";
import { govern, governEmbeddings } from "@driftlock/langchain";
import { startOpenAIServer } from "@driftlock/openai-server";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { createAgent } from "langchain";
import { z } from "zod";

// Stands in for OpenAI, so that this runs offline.
await using server = await startOpenAIServer();
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });

const policy = new PolicyEngine({
  rules: [
    new MonthlyBudgetRule({ maxUsd: 100 }),
    new MaxCostPerRequestRule({ maxUsd: 0.01 }), // lowers the maximum of output tokens to what a cent buys
    new TagBasedModelDowngradeRule({
      condition: ({ labels }) => labels["plan"] === "free",
      downgradeTo: "gpt-4o-mini",
    }),
  ],
  store: "memory",
});
const model = govern(new ChatOpenAI({ model: "gpt-4o" }), {
  policy,
  models: { "gpt-4o-mini": new ChatOpenAI({ model: "gpt-4o-mini", temperature: 0 }) },
  labelsFrom: ({ user_id, plan }) => ({ user_id, plan }),
});

const sent = () => {
  const { model, max_tokens } = server.requests.at(-1)!.body;
  return `${model}, at most ${max_tokens} tokens`;
};

await model.invoke("What is a budget?", { metadata: { user_id: "ada", plan: "pro" } });
console.log("pro:", sent());
await model.invoke("What is a budget?", { metadata: { user_id: "bob", plan: "free" } });
console.log("free:", sent());

// A reader that leaves pays for what it got.
policy.on("call-settled", ({ receipt }) =>
  console.log(`  settled ${receipt.estimated ? "by what was streamed" : "at its usage"}`),
);
for await (const chunk of await model.stream("What is a budget?")) if (chunk.text !== "") break;
console.log("stream:", sent());

const clock = tool(() => "noon", { name: "clock", description: "Tells the time", schema: z.object({}) });
const agent = createAgent({ model, tools: [clock] });
await agent.invoke({ messages: [{ role: "user", content: "What time is it?" }] }, { metadata: { plan: "free" } });
console.log("agent:", sent());

const small = new OpenAIEmbeddings({ model: "text-embedding-3-small" });
const embeddings = governEmbeddings(small, { policy, provider: "openai" });
console.log("embeddings:", (await embeddings.embedQuery("What is a budget?")).length, "numbers");
