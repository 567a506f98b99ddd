import { MonthlyBudgetRule, PerUserBudgetRule, PolicyViolationError } from "@driftlock/core";
import type { GovernedChatModel } from "@driftlock/langchain";
import { StringOutputParser } from "@langchain/core/output_parsers";
import { ChatPromptTemplate } from "@langchain/core/prompts";
import { createReactAgent } from "@langchain/langgraph/prebuilt";
import type { ChatOpenAI } from "@langchain/openai";
import { createAgent } from "langchain";
import { describe, expect, it } from "vitest";
import { billedUsd, collect, setUp, spend } from "../harness.js";

type Model = GovernedChatModel | ChatOpenAI;
const prompt = ChatPromptTemplate.fromMessages([["human", "{input}"]]);
const say = { messages: [{ role: "user", content: "Hi" }] };

/** Sends so many calls at once; each entry tells how. */
const ways: Readonly<Record<string, (model: Model, count: number) => Promise<PromiseSettledResult<unknown>[]>>> = {
  invoke: (model, count) => Promise.allSettled(times(count, () => model.invoke("Hi"))),
  stream: (model, count) => Promise.allSettled(times(count, async () => collect(await model.stream("Hi")))),
  "streamEvents v2": (model, count) =>
    Promise.allSettled(times(count, () => collect(model.streamEvents("Hi", { version: "v2" })))),
  batch: async (model, count) => {
    const inputs = times(count, () => "Hi");
    const answers: unknown[] = await model.batch(inputs, undefined, { returnExceptions: true });
    return answers.map((value) =>
      value instanceof Error ? { status: "rejected", reason: value } : { status: "fulfilled", value },
    );
  },
  "a chain's stream": (model, count) => {
    const chain = prompt.pipe(model).pipe(new StringOutputParser());
    return Promise.allSettled(times(count, async () => collect(await chain.stream({ input: "Hi" }))));
  },
  createAgent: (model, count) => {
    const agent = createAgent({ model, tools: [] });
    return Promise.allSettled(times(count, () => agent.invoke(say)));
  },
  "createAgent's stream": (model, count) => {
    const agent = createAgent({ model, tools: [] });
    return Promise.allSettled(times(count, async () => collect(await agent.stream(say, { streamMode: "messages" }))));
  },
  createReactAgent: (model, count) => {
    const agent = createReactAgent({ llm: model, tools: [] });
    return Promise.allSettled(times(count, () => agent.invoke(say)));
  },
};

const entries = ["govern", "the handler"] as const;

describe.each(entries)("through %s", (entry) => {
  it.each(Object.keys(ways))("100 parallel calls of $0.10 against $1.00, by %s: exactly 10 are sent", async (way) => {
    const { chat, governed, policy, server } = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 1 })] });
    const results = await ways[way]!(entry === "govern" ? governed() : chat(), 100);
    expect(reasons(results)).toEqual({ sent: 10, MonthlyBudgetRule: 90 });
    expect(server.requests).toHaveLength(10);
    expect(await spend(policy)).toEqual({ settled: 1, held: 0 });
    expect(billedUsd(server.bill)).toBe(1);
  });
});

describe.each(entries)("50 tenants with 20 concurrent runs each, through one %s", (entry) => {
  it.each(["invoke", "stream", "createAgent"])(
    "by %s: no call is charged to another tenant",
    { timeout: 60_000 },
    async (way) => {
      const { chat, governed, policy, server } = await setUp({
        rules: [new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 1.5 })],
        maxWaiters: 2000,
      });
      const charged = new Map<string, number>();
      const asked = new Map<string, string>();
      policy.on("call-reserved", ({ id, labels }) => void asked.set(id, labels["user_id"]!));
      policy.on("call-settled", ({ labels, receipt }) => {
        const user = labels["user_id"]!;
        expect(asked.get(receipt.id)).toBe(user);
        charged.set(user, (charged.get(user) ?? 0) + receipt.costUsd);
      });
      const model: Model = entry === "govern" ? governed() : chat();
      const agent = createAgent({ model, tools: [] });
      const users = times(50, (i) => `tenant-${i}`);
      const results = await Promise.allSettled(
        times(20, () => users)
          .flat()
          .map(async (user_id) => {
            const config = { metadata: { user_id } };
            if (way === "createAgent") {
              await agent.invoke({ messages: [{ role: "user", content: user_id }] }, config);
            } else if (way === "invoke") await model.invoke(user_id, config);
            else await collect(await model.stream(user_id, config));
          }),
      );
      expect(reasons(results)).toEqual({ sent: 50 * 15, PerUserBudgetRule: 50 * 5 });
      for (const user_id of users) {
        expect(charged.get(user_id)).toBeCloseTo(1.5, 9);
        expect(await spend(policy, { user_id })).toEqual({ settled: 1.5, held: 0 });
        // What the server was asked in the tenant's name.
        expect(server.requests.filter(({ body }) => body.messages!.at(-1)!.content === user_id)).toHaveLength(15);
      }
    },
  );
});

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

/** How many were answered, and how many each rule refused. */
function reasons(results: readonly PromiseSettledResult<unknown>[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const result of results) {
    const name =
      result.status === "fulfilled"
        ? "sent"
        : (PolicyViolationError.find(result.reason)?.ruleName ?? String(result.reason));
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}
