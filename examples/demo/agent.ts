/** The demo's research agent, and a local server's answers to it. */
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { Reply } from "@driftlock/openai-server";

/** Who is asking, for the record: the model's calls carry it as their agent. */
const as = (agent: string) => ({ metadata: { lc_agent_name: agent } });

/** Plan, four branches of research at once, a check of the facts, a synthesis. */
export async function research(model: BaseChatModel, question: string): Promise<string> {
  const plan = await model.invoke(`Plan the research in four parts: ${question}`, as("plan"));
  const branches = ["history", "practice", "numbers", "critics"].map((part) =>
    model.invoke(`Research the part "${part}" of this plan: ${plan.text}`, as(`research: ${part}`)),
  );
  const found = (await Promise.all(branches)).map(({ text }) => text).join("\n");
  const checked = await model.invoke(`Check the facts of: ${found}`, as("fact check"));
  const answer = await model.invoke(`Answer "${question}" from: ${checked.text}`, as("synthesis"));
  return answer.text;
}

/** Output tokens of each call, and how long it takes (ms), so that the branches come back in order. */
const script: readonly (readonly [tokens: number, delayMs: number])[] = [
  [400, 60],
  [2_700, 60],
  [2_700, 120],
  [2_700, 180],
  [2_700, 240],
  [2_000, 60],
  [2_500, 60],
];

export const replies: readonly Reply[] = script.map(([completionTokens, delayMs]) => ({
  text: "An answer that is longer than what is shown of it.",
  usage: { completionTokens },
  delayMs,
}));
