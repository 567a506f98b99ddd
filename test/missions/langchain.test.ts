import { PolicyEngine } from "@driftlock/core";
import { DriftlockCallbackHandler, govern } from "@driftlock/langchain";
import { MissionBudgetExceededError, Missions } from "@driftlock/missions";
import { startOpenAIServer } from "@driftlock/openai-server";
import { ChatOpenAI } from "@langchain/openai";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";

/** A server whose every answer costs $0.01 and its prompt, and a policy with missions. */
async function world() {
  const server = await startOpenAIServer({ reply: () => ({ usage: { completionTokens: 1_000 }, delayMs: 5 }) });
  onTestFinished(() => server[Symbol.asyncDispose]());
  const policy = new PolicyEngine({ rules: [], store: "memory" });
  const chat = (model = "gpt-4o") =>
    new ChatOpenAI({ model, maxTokens: 1_000, apiKey: "any", configuration: { baseURL: server.url }, maxRetries: 0 });
  return { server, policy, missions: new Missions({ policy }), chat };
}

// LangChain also writes every refusal there.
beforeEach(() => void vi.spyOn(console, "error").mockImplementation(() => undefined));

describe("a mission around LangChain", () => {
  it("covers a model with the callback handler, in parallel branches, to the last cent", async () => {
    const { server, policy, missions, chat } = await world();
    const model = chat().withConfig({ callbacks: [new DriftlockCallbackHandler({ policy })] });
    const outcomes = await missions.run({ name: "chain", missionId: "m", budgetUsd: 0.055 }, () =>
      Promise.allSettled(Array.from({ length: 20 }, () => model.invoke("What is a budget?"))),
    );
    expect(server.requests).toHaveLength(5);
    const refusals = outcomes.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
    expect(refusals).toHaveLength(15);
    for (const refusal of refusals) expect(MissionBudgetExceededError.find(refusal)?.missionId).toBe("m");
    const stats = await missions.stats("m");
    expect([stats.calls, stats.status, stats.unattributedUsd]).toEqual([5, "killed", 0]);
    const billed = server.bill.map(({ usage }) => usage.promptTokens * 2.5 + usage.completionTokens * 10);
    expect(stats.totalCostUsd).toBeCloseTo(billed.reduce((sum, micros) => sum + micros, 0) / 1e6, 9);
  });

  it("swaps the model of a governed one, and the hard stop stays", async () => {
    const { server, policy, missions, chat } = await world();
    const model = govern(chat(), { policy, models: { "gpt-4o-mini": chat("gpt-4o-mini") } });
    const options = { name: "governed", budgetUsd: 0.025, onExceed: "downgrade", downgradeTo: "gpt-4o-mini" } as const;
    await missions.run(options, async (m) => {
      for (let i = 0; i < 6; i++) await model.invoke("What is a budget?");
      expect([m.status, m.spent <= 0.025]).toEqual(["degraded", true]);
    });
    expect(server.requests.map(({ body }) => body.model)).toEqual([
      ...["gpt-4o", "gpt-4o"],
      ...Array.from({ length: 4 }, () => "gpt-4o-mini"),
    ]);
  });

  it("stops a graph at its node, and the record names the nodes", async () => {
    const { policy, missions, chat } = await world();
    const model = chat().withConfig({ callbacks: [new DriftlockCallbackHandler({ policy })] });
    const say = async ({ messages }: typeof MessagesAnnotation.State) => ({ messages: [await model.invoke(messages)] });
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("plan", say)
      .addNode("write", say)
      .addEdge(START, "plan")
      .addEdge("plan", "write")
      .addConditionalEdges("write", () => "write", { write: "write", end: END })
      .compile();
    const run = missions.run({ name: "graph", missionId: "g", budgetUsd: 0.045 }, (m) =>
      graph.invoke({ messages: [{ role: "user", content: "Write." }] }, { signal: m.signal, recursionLimit: 50 }),
    );
    const failure: unknown = await run.catch((error: unknown) => error);
    expect(MissionBudgetExceededError.find(failure)?.action).toBe("kill");
    const { agents, calls } = await missions.stats("g");
    expect(calls).toBe(4);
    expect(agents.map(({ agent, calls: made }) => [agent, made])).toEqual([
      ["write", 3],
      ["plan", 1],
    ]);
  });
});
