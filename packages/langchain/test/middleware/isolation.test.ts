import { MonthlyBudgetRule, PerUserBudgetRule, PolicyViolationError, withLabels } from "@driftlock/core";
import { govern } from "@driftlock/langchain";
import { createAgent, fakeModel, AIMessage } from "langchain";
import { describe, expect, it } from "vitest";
import { calls, counted, question, setUpAgent, words } from "./kit.js";

describe("one agent for many users", () => {
  it("charges each run to its own user: 20 users × 5 concurrent runs, each user's budget holds 3 calls", async () => {
    const { server, policy, model, governing } = await setUpAgent({
      rules: [new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 0.3 })],
    });
    const seen = new Map<string, number>();
    policy.on("call-settled", ({ labels }) => {
      const user = labels["user_id"]!;
      seen.set(user, (seen.get(user) ?? 0) + 1);
    });
    const agent = createAgent({ model: model(), tools: [], middleware: [governing()] });
    const users = Array.from({ length: 20 }, (_, i) => `user-${i}`);
    const runs = await Promise.allSettled(
      users.flatMap((user_id) => Array.from({ length: 5 }, () => agent.invoke(question, { metadata: { user_id } }))),
    );
    expect(runs.filter(({ status }) => status === "fulfilled")).toHaveLength(60);
    expect([...seen.values()]).toEqual(users.map(() => 3));
    expect(server.requests).toHaveLength(60);
  });

  it("stops only the run that was refused", async () => {
    const { server, model, governing } = await setUpAgent({
      rules: [new PerUserBudgetRule({ userBudgets: { poor: 0.1 }, defaultMaxUsd: 10 })],
    });
    server.script(({ body }) => (body.messages?.at(-1)?.role === "tool" ? words : calls("search")));
    const agent = createAgent({ model: model(), tools: [counted("search")], middleware: [governing()] });
    const ask = (user_id: string) => agent.invoke(question, { metadata: { user_id } });
    const [rich, poor] = await Promise.allSettled([ask("rich"), ask("poor")]);
    expect(rich.status).toBe("fulfilled");
    expect(poor).toMatchObject({ status: "rejected", reason: { ruleName: "PerUserBudgetRule" } });
    expect(PolicyViolationError.isInstance((poor as PromiseRejectedResult).reason)).toBe(true);
  });

  it("keeps labels apart where LangChain queues the model's calls", async () => {
    const { policy, model } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 10 })], track: ["user_id"] });
    const queued = govern(model({ maxConcurrency: 1, maxRetries: 2 }), { policy });
    const seen: unknown[] = [];
    policy.on("call-settled", ({ labels }) => void seen.push(labels["user_id"]));
    await Promise.all(["a", "b", "c"].map((user_id) => withLabels({ user_id }, () => queued.invoke("Hi"))));
    expect(seen.sort()).toEqual(["a", "b", "c"]);
  });
});

describe("a model whose name LangChain does not tell", () => {
  it("is judged under the option's name", async () => {
    const { governing, receipts } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 10 })] });
    const model = fakeModel().respond(new AIMessage("hello"));
    const agent = createAgent({ model, tools: [], middleware: [governing({ model: "gpt-4o" })] });
    const { messages } = await agent.invoke(question);
    expect(messages.at(-1)!.text).toBe("hello");
    expect(receipts).toMatchObject([{ model: "gpt-4o" }]);
  });
});
