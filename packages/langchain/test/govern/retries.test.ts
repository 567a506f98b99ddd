import { MonthlyBudgetRule, PolicyViolationError, TagBasedModelDowngradeRule } from "@driftlock/core";
import { govern, type GovernedChatModel } from "@driftlock/langchain";
import type { Reply } from "@driftlock/openai-server";
import { beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { billedUsd, collect, failure, hurryRetries, known, perToken, setUp as setUpPriced, spend } from "../harness.js";

const setUp = (maxUsd = 10) =>
  setUpPriced({ rules: [new MonthlyBudgetRule({ maxUsd })], prices: { overrides: { "gpt-4o": perToken } } });

beforeEach(hurryRetries);

const ways: Readonly<Record<string, (model: GovernedChatModel) => Promise<unknown>>> = {
  invoke: (model) => model.invoke("Hi"),
  stream: async (model) => collect(await model.stream("Hi")),
  "a chain's stream": async (model) => collect(await model.pipe((message) => message.text).stream("Hi")),
  "streamEvents without a version": (model) => collect(model.streamEvents("Hi") as unknown as AsyncIterable<unknown>),
};

describe.each(known(ways))("a governed model tries again as often as it was made to, by %s", (way) => {
  it("and each attempt is authorized, sent and accounted by itself", async () => {
    const { governed, policy, server, receipts, released } = await setUp();
    const maximums: number[] = [];
    policy.on("call-reserved", ({ maxOutputTokens }) => void maximums.push(maxOutputTokens));
    server.script([{ status: 500, usage: { completionTokens: 50 } }, { status: 500 }, {}]);
    await ways[way]!(governed({ maxRetries: 2 }));
    expect(server.requests.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(maximums).toEqual([100, 100, 100]);
    expect(receipts.map(({ estimated }) => estimated)).toEqual([true, true, false]);
    expect(released).toEqual([]);
    const { settled, held } = await spend(policy);
    expect(settled).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
    expect(held).toBe(0);
  });

  it("a rate limit costs nothing, and is tried again where the provider says when", async () => {
    const { governed, policy, server, released } = await setUp();
    server.script([{ status: 429, retryAfterMs: 1 }, {}]);
    await ways[way]!(governed({ maxRetries: 2 }));
    expect(server.requests).toHaveLength(2);
    expect(released).toHaveLength(1);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill, perToken), held: 0 });
  });

  it("never where the first failure was final", async () => {
    const { governed, policy, server } = await setUp();
    server.script({ status: 401 });
    expect(await failure(ways[way]!(governed({ maxRetries: 2 })))).toMatchObject({ status: 401 });
    expect(server.requests).toHaveLength(1);
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });

  it("no further once the budget is used up: the refusal ends the attempts", async () => {
    const { governed, policy, server } = await setUp(0.25);
    let denied = 0;
    policy.on("call-denied", () => void denied++);
    server.script({ status: 500, usage: { completionTokens: 100 } } satisfies Reply);
    const error = PolicyViolationError.find(await failure(ways[way]!(governed({ maxRetries: 6 }))));
    expect(error?.ruleName).toBe("MonthlyBudgetRule");
    expect(denied).toBe(1);
    expect(server.requests.length).toBeLessThanOrEqual(2);
    expect((await spend(policy)).settled).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
  });
});

describe("what no other attempt would change is not tried again", () => {
  it("a model that `models` does not have", async () => {
    const rules = [new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "gpt-4o-mini" })];
    const { governed, server } = await setUpPriced({ rules });
    let asked = 0;
    const models = () => void asked++;
    const error = await failure(governed({ maxRetries: 6 }, { models: models as () => undefined }).invoke("Hi"));
    expect(error).toMatchObject({ name: "ConfigError" });
    expect(asked).toBe(1);
    expect(server.requests).toEqual([]);
  });

  it("of two policies around one model neither multiplies the other's attempts", async () => {
    const { governed, server } = await setUp();
    const other = await setUp();
    server.script({ status: 500 });
    await failure(govern(governed({ maxRetries: 1 }), { policy: other.policy }).invoke("Hi"));
    expect(server.requests).toHaveLength(2);
  });
});

describe("a structured answer", () => {
  const City = z.object({ city: z.string() });

  it("that was cut short is asked for again, as the model itself does, and every attempt is charged", async () => {
    const { governed, policy, server, receipts } = await setUp();
    server.script([{ text: '{"city":"B', finishReason: "length" }, { text: '{"city":"Bonn"}' }]);
    const model = governed({ maxRetries: 1 }).withStructuredOutput(City, { method: "jsonSchema" });
    expect(await model.invoke("Where?")).toEqual({ city: "Bonn" });
    expect(server.requests).toHaveLength(2);
    // LangChain throws the first answer's usage away with it.
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }, { estimated: false }]);
    expect((await spend(policy)).settled).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
  });

  it("that its parser refuses is charged once and not asked for again: the model had answered", async () => {
    const { governed, policy, server, receipts } = await setUp();
    server.script({ toolCalls: [{ name: "extract", arguments: { town: "Bonn" } }] });
    const model = governed({ maxRetries: 3 }).withStructuredOutput(City, { method: "functionCalling" });
    expect(await failure(model.invoke("Where?"))).toMatchObject({ name: "Error" });
    expect(server.requests).toHaveLength(1);
    expect(receipts).toMatchObject([{ estimated: false }]);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill, perToken), held: 0 });
  });
});

it("a run's id names the first attempt; the next one is a run of its own", async () => {
  const { governed, server } = await setUp();
  server.script([{ status: 500 }, {}]);
  const runId = crypto.randomUUID();
  const ids: string[] = [];
  const callbacks = [{ handleChatModelStart: (...args: unknown[]) => void ids.push(args[2] as string) }];
  await governed({ maxRetries: 1 }).invoke("Hi", { runId, callbacks });
  expect(ids).toHaveLength(2);
  expect(ids[0]).toBe(runId);
  expect(ids[1]).not.toBe(runId);
});

describe("attempts that a call asks for by its own options are made by the governed model, each one known", () => {
  const asked: Readonly<Record<string, (model: GovernedChatModel) => Promise<unknown>>> = {
    "maxRetries of invoke": (model) => model.invoke("Hi", { maxRetries: 2 } as object),
    "maxRetries of stream": async (model) => collect(await model.stream("Hi", { maxRetries: 2 } as object)),
    "maxRetries for the SDK": (model) => model.invoke("Hi", { options: { maxRetries: 2 } } as object),
    withConfig: (model) => model.withConfig({ maxRetries: 2 } as object).invoke("Hi"),
    bindTools: (model) => model.bindTools!([], { maxRetries: 2 } as object).invoke("Hi"),
  };

  it.each(Object.keys(asked))("%s", async (way) => {
    const { governed, policy, server, receipts } = await setUp();
    server.script({ status: 500, usage: { completionTokens: 100 } });
    await failure(asked[way]!(governed({ maxRetries: 0 })));
    expect(receipts).toHaveLength(server.requests.length);
    expect((await spend(policy)).settled).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
  });

  it("also none, where the model itself would make some", async () => {
    const { governed, server } = await setUp();
    server.script({ status: 500 });
    await failure(governed({ maxRetries: 3 }).invoke("Hi", { maxRetries: 0 } as object));
    expect(server.requests).toHaveLength(1);
  });
});
