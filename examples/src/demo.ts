/** A chain under a policy, call by call, until the policy says no. With OPENAI_API_KEY and `--live` on the real API. */
import { MaxCostPerRequestRule, MonthlyBudgetRule, PolicyEngine } from "@driftlock/core";
import { PolicyViolationError, VelocityLimitRule, type Receipt } from "@driftlock/core";
import { DriftlockCallbackHandler } from "@driftlock/langchain";
import { startOpenAIServer } from "@driftlock/openai-server";
import type { AIMessageChunk } from "@langchain/core/messages";
import { StringOutputParser } from "@langchain/core/output_parsers";
import { ChatPromptTemplate } from "@langchain/core/prompts";
import { ChatOpenAI } from "@langchain/openai";
import { opening, receiptLine, refusal, standing } from "../demo/print.js";

const isLive = process.argv.includes("--live");
if (isLive && !process.env["OPENAI_API_KEY"]) throw new Error("--live calls the real API: set OPENAI_API_KEY");
const reply = [180, 240, 95, 310].map((completionTokens) => ({ usage: { completionTokens } }));
await using server = isLive ? undefined : await startOpenAIServer({ reply });
if (server !== undefined) Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });

const policy = new PolicyEngine({
  rules: [
    new MonthlyBudgetRule({ maxUsd: 0.01 }),
    new MaxCostPerRequestRule({ maxUsd: 0.005 }),
    new VelocityLimitRule({ maxRequests: 60, windowSeconds: 60 }),
  ],
  store: "memory",
});
let receipt: Receipt | undefined;
policy.on("call-settled", (event) => void (receipt = event.receipt));

let answer: AIMessageChunk | undefined;
const chain = ChatPromptTemplate.fromTemplate("Explain in one paragraph what {topic} is.")
  .pipe(new ChatOpenAI({ model: "gpt-4o", maxTokens: 400 }))
  .pipe((message) => (answer = message))
  .pipe(new StringOutputParser());
const callbacks = [new DriftlockCallbackHandler({ policy })];

opening(isLive);
console.error = () => {}; // LangChain also writes every refusal there.
const topics = ["a budget", "a ledger", "a receipt", "an overdraft", "a refund"];
try {
  for (let call = 1; ; call++) {
    await chain.invoke({ topic: topics[call % topics.length] }, { callbacks });
    const [month] = await policy.usage();
    receiptLine(call, receipt!, answer!.usage_metadata!, month!);
  }
} catch (error) {
  const blocked = PolicyViolationError.find(error);
  if (blocked === undefined) throw error;
  refusal(blocked, isLive);
}
standing(await policy.usage());
