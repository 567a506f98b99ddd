import { MaxCostPerRequestRule, MonthlyBudgetRule, VelocityLimitRule } from "@driftlock/core";
import { FakeListChatModel } from "@langchain/core/utils/testing";
import { AzureChatOpenAI, OpenAI } from "@langchain/openai";
import { describe, expect, it, vi } from "vitest";
import { failure, perToken, setUp as setUpPriced, spend } from "./harness.js";

const setUp = (handlerOptions: { model?: string } = {}) => {
  const prices = { overrides: { "gpt-4o": perToken, "gpt-3.5-turbo-instruct": perToken } };
  return setUpPriced({ rules: [new MonthlyBudgetRule({ maxUsd: 100 })], prices }, handlerOptions);
};

describe("a model without a maximum of output tokens", () => {
  it("answers under the seed's first example, at list price", async () => {
    const warnings = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const { chat, policy, receipts } = await setUpPriced({
      prices: {},
      rules: [
        new MonthlyBudgetRule({ maxUsd: 100 }),
        new MaxCostPerRequestRule({ maxUsd: 0.1 }),
        new VelocityLimitRule({ maxRequests: 60, windowSeconds: 60 }),
      ],
    });
    expect((await chat({ maxTokens: undefined }).invoke("Hi")).text).not.toBe("");
    expect(receipts).toMatchObject([{ model: "gpt-4o", estimated: false }]);
    expect((await spend(policy)).settled).toBe(receipts[0]!.costUsd);
    warnings.mockRestore();
  });

  it("answers, held at the policy's guess, which is told once", async () => {
    const warnings = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const { chat, policy, server, receipts } = await setUp();
    const assumed: boolean[] = [];
    policy.on("call-reserved", (event) => void assumed.push(event.assumed));
    await chat({ maxTokens: undefined }).invoke("Hi");
    await chat({ maxTokens: -1 }).invoke("Hi");
    expect(server.requests.map(({ body }) => body.max_tokens)).toEqual([undefined, undefined]);
    expect(assumed).toEqual([true, true]);
    expect(receipts[0]!.heldUsd).toBeGreaterThan(0.8);
    expect(warnings.mock.calls.map(([, options]) => options)).toEqual([
      expect.objectContaining({ code: "DRIFTLOCK_ASSUMED_OUTPUT" }),
    ]);
    warnings.mockRestore();
  });
});

describe("a model whose name LangChain does not tell", () => {
  it("is refused, saying where to name it", async () => {
    const { handler } = await setUp();
    const fake = new FakeListChatModel({ responses: ["Hello"] });
    const error = await failure(fake.invoke("Hi", { callbacks: [handler] }));
    expect(error).toMatchObject({ name: "ConfigError", field: "model" });
  });

  it("is called what the handler says", async () => {
    const { handler, receipts } = await setUp({ model: "gpt-4o" });
    const fake = new FakeListChatModel({ responses: ["Hello"] });
    expect((await fake.invoke("Hi", { callbacks: [handler] })).text).toBe("Hello");
    expect(receipts).toMatchObject([{ model: "gpt-4o", estimated: true }]);
  });

  it("an Azure deployment is not priced as the default that LangChain tells", async () => {
    const { handler, policy, server } = await setUp();
    const models: string[] = [];
    policy.on("call-reserved", ({ model }) => void models.push(model));
    const call = (fields: { model?: string }) => {
      const azure = {
        azureOpenAIApiKey: "any",
        azureOpenAIApiVersion: "1",
        azureOpenAIBasePath: server.url,
        deploymentName: "ours",
      };
      return failure(
        new AzureChatOpenAI({ ...azure, maxRetries: 0, maxTokens: 100, ...fields }).invoke("Hi", {
          callbacks: [handler],
        }),
      );
    };
    expect(await call({})).toMatchObject({ name: "ConfigError", field: "model" });
    // The local server knows no deployments.
    expect(await call({ model: "gpt-4o" })).toMatchObject({ status: 404 });
    expect(models).toEqual(["gpt-4o"]);
  });
});

it("a text completion model is asked for too", async () => {
  const { handler, policy, server, released } = await setUp();
  const held: number[] = [];
  policy.on("call-reserved", ({ heldUsd }) => void held.push(heldUsd));
  const fields = { model: "gpt-3.5-turbo-instruct", apiKey: "any", maxTokens: 50, maxRetries: 0 };
  const model = new OpenAI({ ...fields, configuration: { baseURL: server.url } });
  // The local server speaks chat only.
  expect(await failure(model.invoke("Hi", { callbacks: [handler] }))).toMatchObject({ status: 404 });
  expect(held[0]).toBeGreaterThanOrEqual(50 * 0.001);
  expect(released).toHaveLength(1);
});
