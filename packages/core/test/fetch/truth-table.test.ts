import type { Reply } from "@driftlock/openai-server";
import { ChatOpenAI } from "@langchain/openai";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { PolicyViolationError } from "../../src/errors/policy-violation-error.js";
import { governFetch } from "../../src/fetch/index.js";
import type { Rule } from "../../src/policy/rule.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { ConcurrencyLimitRule } from "../../src/policy/rules/concurrency-limit.js";
import { CostVelocityRule } from "../../src/policy/rules/cost-velocity.js";
import { ForecastBudgetRule } from "../../src/policy/rules/forecast-budget.js";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { PerUserBudgetRule } from "../../src/policy/rules/per-user-budget.js";
import { VelocityLimitRule } from "../../src/policy/rules/velocity-limit.js";
import { billedUsd, CLAUDE, clients, collect, FLAT, GPT, messages, setUp, spend, type SetUp } from "./kit.js";

// LangChain writes there about arguments that were cut.
beforeAll(() => vi.spyOn(console, "warn").mockImplementation(() => {}).mockRestore);

type Sides = Awaited<ReturnType<typeof setUp>>;
type Way = (
  sides: Sides,
  model: { gpt: string; claude: string },
  most: number,
  signal?: AbortSignal,
) => Promise<unknown>;

/** Reads a stream, at most so many of its events. */
async function readSome(stream: AsyncIterable<unknown>, events = Number.POSITIVE_INFINITY): Promise<void> {
  for await (const _event of stream) if (--events === 0) break;
}

const whole: Record<string, Way> = {
  "openai: chat": ({ openai }, { gpt: model }, max_tokens, signal) =>
    openai.chat.completions.create({ model, messages, max_tokens }, { signal }),
  "openai: Responses": ({ openai }, { gpt: model }, max_output_tokens, signal) =>
    openai.responses.create({ model, input: "How are you?", max_output_tokens }, { signal }),
  "anthropic: messages": ({ anthropic }, { claude: model }, max_tokens, signal) =>
    anthropic.messages.create({ model, messages, max_tokens }, { signal }),
  ChatOpenAI: ({ server, fetch }, { gpt: model }, maxTokens, signal) =>
    new ChatOpenAI({
      model,
      maxTokens,
      apiKey: "any",
      maxRetries: 0,
      configuration: { baseURL: server.url, fetch },
    }).invoke("How are you?", { signal }),
};
const streamed = (events?: number): Record<string, Way> => ({
  "openai: chat, streamed": async ({ openai }, { gpt: model }, max_completion_tokens, signal) =>
    readSome(
      await openai.chat.completions.create({ model, messages, max_completion_tokens, stream: true }, { signal }),
      events,
    ),
  "openai: Responses, streamed": async ({ openai }, { gpt: model }, max_output_tokens, signal) =>
    readSome(
      await openai.responses.create({ model, input: "How are you?", max_output_tokens, stream: true }, { signal }),
      events,
    ),
  "anthropic: messages, streamed": async ({ anthropic }, { claude: model }, max_tokens, signal) =>
    readSome(await anthropic.messages.create({ model, messages, max_tokens, stream: true }, { signal }), events),
  "ChatOpenAI, streamed": async ({ server, fetch }, { gpt: model }, maxTokens, signal) =>
    readSome(
      await new ChatOpenAI({
        model,
        maxTokens,
        apiKey: "any",
        maxRetries: 0,
        configuration: { baseURL: server.url, fetch },
      }).stream("How are you?", { signal }),
      events,
    ),
});
const every = { ...whole, ...streamed() };
const priced = { gpt: GPT, claude: CLAUDE };

describe("bill ≤ settled, and equal wherever the provider tells its usage:", () => {
  const told: Record<string, Reply> = {
    "ten tokens": {},
    "a tool call": { toolCalls: [{ name: "weather", arguments: { city: "Bonn" } }] },
    "text and tool calls": { text: "Let me look.", toolCalls: [{ name: "a", arguments: { b: "c".repeat(400) } }] },
    "cached tokens": { usage: { promptTokens: 40, cachedTokens: 30 } },
    "reasoning tokens": { usage: { reasoningTokens: 50 } },
    "an answer cut at its maximum": { text: "word".repeat(500) },
    "an answer beyond its maximum": { text: "word".repeat(500), ignoreMaximum: true },
    "a prompt beyond its bound": { usage: { promptTokens: 5_000 } },
    "one chunk": { text: "word".repeat(50), chunks: 1 },
    "another model's name": { model: "gpt-4o-mini-2024-07-18" },
    "429": { status: 429 },
    "400": { status: 400 },
  };
  const untold: Record<string, Reply> = {
    "no usage": { omitUsage: true },
    "a tool call, no usage": { omitUsage: true, toolCalls: [{ name: "a", arguments: { b: "c".repeat(300) } }] },
    "no usage, in one chunk": { omitUsage: true, text: "word".repeat(50), chunks: 1 },
    "a cut before it begins": { cutAfterChunks: 0 },
    "a cut in its middle": { cutAfterChunks: 4 },
    "500": { status: 500 },
    "500, billed": { status: 500, usage: { promptTokens: 7, completionTokens: 90 } },
  };
  const rows = Object.entries({ ...told, ...untold }).flatMap(([kind, reply]) =>
    Object.entries(every).map(([name, way]) => [kind, name, way, reply] as const),
  );

  it.each(rows)("%s, by %s", async (kind, _name, way, reply) => {
    const sides = await setUp({ server: { reply } });
    await way(sides, priced, 100).catch(() => {});
    await sides.server.idle();
    const billed = billedUsd(sides.server.bill);
    const { settled, held } = await spend(sides.policy);
    expect(held).toBe(0);
    expect(sides.server.bill).toHaveLength(1);
    if (kind in told) expect(settled).toBe(billed);
    else expect(settled).toBeGreaterThanOrEqual(billed);
  });

  it.each(Object.entries(streamed(5)))("a break after five events, by %s", async (_, way) => {
    const sides = await setUp({ server: { reply: { text: "word".repeat(60), chunkDelayMs: 2 } } });
    await way(sides, priced, 100);
    await sides.server.idle();
    const { settled, held } = await spend(sides.policy);
    expect(held).toBe(0);
    expect(sides.server.bill).toMatchObject([{ outcome: "aborted" }]);
    expect(settled).toBeGreaterThanOrEqual(billedUsd(sides.server.bill));
    expect(settled).toBeLessThan(0.1);
  });

  it.each(Object.entries(every))("an abort, by %s", async (_, way) => {
    const sides = await setUp({ server: { reply: { hangAfterChunks: 3, delayMs: 20 } } });
    for (const afterMs of [10, 60]) {
      const controller = new AbortController();
      const call = way(sides, priced, 100, controller.signal).catch(() => {});
      setTimeout(() => controller.abort(), afterMs);
      await call;
      await sides.server.idle();
    }
    const { settled, held } = await spend(sides.policy);
    expect(held).toBe(0);
    expect(settled).toBeGreaterThanOrEqual(billedUsd(sides.server.bill));
  });

  it("a hundred calls of every kind at once, to the nano-dollar", async () => {
    const kinds = Object.values(told).filter(({ status }) => status === undefined);
    const sides = await setUp({ server: { reply: ({ id }) => kinds[Number(id.slice(4)) % kinds.length] } });
    const ways = Object.values(every);
    await Promise.all(Array.from({ length: 100 }, (_, i) => ways[i % ways.length]!(sides, priced, 100)));
    expect(await spend(sides.policy)).toEqual({ settled: billedUsd(sides.server.bill), held: 0 });
    expect(sides.receipts.every(({ estimated }) => !estimated)).toBe(true);
  });
});

describe("100 parallel calls of $0.10 against $1, with default options: 10 sent, $1.00 spent, 90 refused", () => {
  const ada = { user_id: "ada" };
  const limits: Record<string, () => Rule> = {
    "a month": () => new MonthlyBudgetRule({ maxUsd: 1 }),
    "a user's cap": () => new PerUserBudgetRule({ userBudgets: { ada: 1 } }),
    "a forecast": () => new ForecastBudgetRule({ monthlyBudgetUsd: 30 / 7 }),
    "a spend rate": () => new CostVelocityRule({ maxCostUsd: 1, windowSeconds: 3_600 }),
    "a lifetime": () => new BudgetRule({ maxUsd: 1, per: "lifetime" }),
  };
  const flat = { gpt: FLAT, claude: FLAT };
  const options = (rule: Rule): SetUp => ({
    policy: { rules: [rule] },
    fetch: { labels: ada },
    server: { reply: { usage: { completionTokens: 100 } } },
  });
  /** Every way against the month, every limit by one way of each SDK. */
  const rows = Object.entries(limits).flatMap(([limit, rule]) =>
    Object.entries(every)
      .filter(([name]) => limit === "a month" || name === "openai: chat" || name === "anthropic: messages, streamed")
      .map(([name, way]) => [limit, name, rule, way] as const),
  );

  it.each(rows)("%s, by %s", async (_limit, _name, rule, way) => {
    const sides = await setUp(options(rule()));
    const outcomes = await Promise.allSettled(Array.from({ length: 100 }, () => way(sides, flat, 100)));
    const refused = outcomes.filter(
      (one) => one.status === "rejected" && PolicyViolationError.find(one.reason) !== undefined,
    );
    expect([sides.server.requests.length, refused.length]).toEqual([10, 90]);
    expect(await spend(sides.policy, ada)).toEqual({ settled: 1, held: 0 });
    expect(billedUsd(sides.server.bill)).toBe(1);
  });

  it("a rate of 10 in 60 s: 10 of 100 are sent, failing ones count too", async () => {
    for (const reply of [{}, { status: 400 }]) {
      const sides = await setUp({
        policy: { rules: [new VelocityLimitRule({ maxRequests: 10, windowSeconds: 60 })] },
        server: { reply },
      });
      await Promise.allSettled(Array.from({ length: 100 }, () => whole["openai: chat"]!(sides, flat, 100)));
      expect(sides.server.requests).toHaveLength(10);
    }
  });

  it("a concurrency limit of 7: never more than 7 of 100 are at the server, and all are done", async () => {
    let [now, most] = [0, 0];
    const sides = await setUp({
      policy: { rules: [new ConcurrencyLimitRule({ maxConcurrent: 7 })] },
      server: {
        async reply() {
          most = Math.max(most, ++now);
          await new Promise((resolve) => setTimeout(resolve, 5));
          now--;
          return {};
        },
      },
    });
    await Promise.all(Array.from({ length: 100 }, (_, i) => Object.values(every)[i % 8]!(sides, flat, 100)));
    expect(sides.server.requests).toHaveLength(100);
    expect(most).toBeLessThanOrEqual(7);
    expect(most).toBeGreaterThan(3);
  });

  it("20 calls that each hold $0.16 and cost $0.01 all succeed by waiting", async () => {
    const sides = await setUp({ policy: { rules: [new MonthlyBudgetRule({ maxUsd: 1 })] } });
    await Promise.all(Array.from({ length: 20 }, () => whole["openai: chat"]!(sides, flat, 160)));
    expect(await spend(sides.policy)).toEqual({ settled: 0.2, held: 0 });
  });

  it("the guide's three rules answer on gpt-4o with no maximum set, at list prices", async () => {
    const rules = [
      new MonthlyBudgetRule({ maxUsd: 100 }),
      new MaxCostPerRequestRule({ maxUsd: 0.1 }),
      new VelocityLimitRule({ maxRequests: 60, windowSeconds: 60 }),
    ];
    const { openai, anthropic, policy, server, receipts } = await setUp({ policy: { rules, prices: {} } });
    await openai.chat.completions.create({ model: GPT, messages });
    await collect(await openai.chat.completions.create({ model: GPT, messages, stream: true }));
    await openai.responses.create({ model: GPT, input: "Hi" });
    await anthropic.messages.create({ model: CLAUDE, messages, max_tokens: 1_000 });
    // The names of embedding models do not tell their maker; the address would.
    const { openai: named } = clients(server, governFetch(policy, { provider: "openai" }));
    await named.embeddings.create({ model: "text-embedding-3-small", input: "Hi" });
    expect(receipts.map(({ estimated }) => estimated)).toEqual(Array(5).fill(false));
    // 7 input and 10 output tokens of gpt-4o at $2.50 and $10 a million.
    expect(receipts[0]!.costUsd).toBe(0.0001175);
  });
});
