import {
  ConcurrencyLimitRule,
  CostVelocityRule,
  ForecastBudgetRule,
  MaxCostPerRequestRule,
  MonthlyBudgetRule,
  PerUserBudgetRule,
  PolicyViolationError,
  RestrictModelRule,
  TagBasedModelDowngradeRule,
  VelocityLimitRule,
} from "@driftlock/core";
import { StringOutputParser } from "@langchain/core/output_parsers";
import { ChatPromptTemplate } from "@langchain/core/prompts";
import type { ChatOpenAI } from "@langchain/openai";
import { describe, expect, it } from "vitest";
import { billedUsd, collect, setUp, spend } from "./harness.js";

const prompt = ChatPromptTemplate.fromMessages([["human", "{input}"]]);

/** Sends 100 calls at once; each entry tells how. */
const ways: Readonly<Record<string, (model: ChatOpenAI) => Promise<PromiseSettledResult<unknown>[]>>> = {
  invoke: (model) => Promise.allSettled(times(100, () => model.invoke("Hi"))),
  stream: (model) => Promise.allSettled(times(100, async () => collect(await model.stream("Hi")))),
  batch: async (model) => {
    const answers = await model.batch(
      times(100, () => "Hi"),
      undefined,
      { returnExceptions: true },
    );
    return answers.map((value) =>
      value instanceof Error ? { status: "rejected", reason: value } : { status: "fulfilled", value },
    );
  },
  "a chain's stream": (model) => {
    const chain = prompt.pipe(model).pipe(new StringOutputParser());
    return Promise.allSettled(times(100, async () => collect(await chain.stream({ input: "Hi" }))));
  },
};

describe.each(Object.keys(ways))("100 parallel calls by %s", (way) => {
  it("of $0.10 against $1.00: exactly 10 are sent and $1.00 is settled", async () => {
    const { chat, policy, server } = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 1 })] });
    const results = await ways[way]!(chat());
    expect(reasons(results)).toEqual({ sent: 10, MonthlyBudgetRule: 90 });
    expect(server.requests).toHaveLength(10);
    expect(await spend(policy)).toEqual({ settled: 1, held: 0 });
    expect(billedUsd(server.bill)).toBe(1);
  });

  it("against 10 requests in 60 s: exactly 10 are sent", async () => {
    const { chat, server } = await setUp({ rules: [new VelocityLimitRule({ maxRequests: 10, windowSeconds: 60 })] });
    expect(reasons(await ways[way]!(chat()))).toEqual({ sent: 10, VelocityLimitRule: 90 });
    expect(server.requests).toHaveLength(10);
  });
});

describe("in parallel", () => {
  it("50 users with $0.20 each send two calls of $0.10 each, whoever else calls", async () => {
    const { chat, policy, server } = await setUp({
      rules: [new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 0.2 })],
    });
    const model = chat();
    const users = times(50, (i) => `user-${i}`);
    const results = await Promise.allSettled(
      users.flatMap((user_id) => times(4, () => model.invoke("Hi", { metadata: { user_id } }))),
    );
    expect(reasons(results)).toEqual({ sent: 100, PerUserBudgetRule: 100 });
    expect(server.requests).toHaveLength(100);
    for (const user_id of users) expect(await spend(policy, { user_id })).toEqual({ settled: 0.2, held: 0 });
  });

  it("never more than 5 are in flight, and all are sent", async () => {
    const { chat, server } = await setUp({ rules: [new ConcurrencyLimitRule({ maxConcurrent: 5 })] });
    let inFlight = 0;
    let most = 0;
    server.script(async () => {
      most = Math.max(most, ++inFlight);
      await server.arrived(5);
      inFlight--;
      return {};
    });
    const model = chat();
    await Promise.all(times(40, () => model.invoke("Hi")));
    expect(most).toBe(5);
    expect(server.requests).toHaveLength(40);
  });

  it("worst-case holds do not starve: 20 calls that hold $0.16 and cost $0.005 all pass $1.00 by waiting", async () => {
    const { chat, policy, server } = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 1 })] });
    server.script({ usage: { completionTokens: 5 } });
    const model = chat({ maxTokens: 160 });
    await Promise.all(times(20, () => model.invoke("Hi")));
    expect(server.requests).toHaveLength(20);
    expect(await spend(policy)).toEqual({ settled: 0.1, held: 0 });
  });

  it("all eight rules of the seed hold at once", async () => {
    const { chat, policy, server } = await setUp({
      rules: [
        new MonthlyBudgetRule({ maxUsd: 0.8 }),
        new MaxCostPerRequestRule({ maxUsd: 0.1 }),
        new PerUserBudgetRule({ userBudgets: { ada: 0.3 }, defaultMaxUsd: 0.5 }),
        new ForecastBudgetRule({ monthlyBudgetUsd: 100 }),
        new VelocityLimitRule({ maxRequests: 50, windowSeconds: 60 }),
        new CostVelocityRule({ maxCostUsd: 5, windowSeconds: 3600 }),
        new RestrictModelRule({ disallowedModels: ["gpt-4"] }),
        new TagBasedModelDowngradeRule({
          condition: ({ labels }) => labels["user_id"] === "eve",
          downgradeTo: "gpt-4o-mini",
        }),
      ],
    });
    const model = chat();
    const users = times(90, (i) => ["ada", "bob", "eve"][i % 3]!);
    const results = await Promise.allSettled(users.map((user_id) => model.invoke("Hi", { metadata: { user_id } })));
    const { sent } = reasons(results);
    expect(sent).toBe(8);
    expect(await spend(policy)).toEqual({ settled: 0.8, held: 0 });
    expect(billedUsd(server.bill)).toBe(0.8);
    const rows = await policy.usage({ labels: { user_id: "ada" } });
    expect(rows.find(({ rule }) => rule === "PerUserBudgetRule")?.spentUsd).toBeLessThanOrEqual(0.3);
    for (const row of rows) expect(row.heldUsd).toBe(0);
  });
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
