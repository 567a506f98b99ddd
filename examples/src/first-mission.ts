/** One budget for a whole run: when it gets tight, the rest of the run goes to a cheaper model. */
import { PolicyEngine } from "@driftlock/core";
import { MissionBudgetExceededError, Missions } from "@driftlock/missions";
import { startOpenAIServer } from "@driftlock/openai-server";
import OpenAI from "openai";

// Stands in for OpenAI, so that this runs offline: every answer is 400 tokens long.
await using server = await startOpenAIServer({
  reply: () => ({ usage: { promptTokens: 100, completionTokens: 400 } }),
});
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });
const openai = new OpenAI();

const policy = new PolicyEngine({ rules: [], store: "memory" }); // the rules of single calls apply as well
const missions = new Missions({ policy });

async function ask(question: string): Promise<string> {
  const messages = [{ role: "user" as const, content: question }];
  const answer = await policy.run({ model: "gpt-4o", messages, maxOutputTokens: 500 }, (request) =>
    openai.chat.completions.create({ model: request.model, messages, max_completion_tokens: request.maxOutputTokens! }),
  );
  return answer.model;
}

const onWarning = (m: { spent: number; budget: number }) =>
  console.log(`Warning: $${m.spent.toFixed(4)} of $${m.budget} spent.`);

const calls = await missions.run(
  {
    name: "research",
    budgetUsd: 0.02,
    onExceed: "downgrade",
    downgradeTo: "gpt-4o-mini",
    expectedCalls: 10,
    onWarning,
  },
  async (m) => {
    for (let call = 1; ; call++) {
      try {
        const model = await ask(`Question ${call}: what is a budget?`);
        const forecast = m.projection
          ? `, $${m.projection.low.toFixed(4)} to $${m.projection.high.toFixed(4)} in the end`
          : "";
        if (call <= 5) console.log(`${call}. ${model}: $${m.spent.toFixed(4)} spent${forecast}`);
      } catch (error) {
        const refused = MissionBudgetExceededError.find(error);
        if (refused === undefined) throw error;
        console.log(refused.message.replace(m.id, "…"));
        return call - 1;
      }
    }
  },
);

const [last] = await missions.list();
console.log(`${calls} calls, ${last!.status}: $${last!.totalCostUsd.toFixed(4)} of $${last!.budgetUsd}.`);
