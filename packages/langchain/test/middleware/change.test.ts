import { MonthlyBudgetRule, TagBasedModelDowngradeRule } from "@driftlock/core";
import { govern } from "@driftlock/langchain";
import type { ChatOpenAI } from "@langchain/openai";
import { createAgent, providerStrategy, toolStrategy } from "langchain";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { collect, spend } from "../harness.js";
import { calls, counted, question, setUpAgent, words } from "./kit.js";

const downgrade = new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "gpt-4o-mini" });

describe("what a policy changes in a call of an agent arrives at the provider", () => {
  it("another model, with the tools and the system prompt of the agent", async () => {
    const { server, model, governing } = await setUpAgent({ rules: [downgrade] });
    server.script([calls("search"), words]);
    const agent = createAgent({
      model: model(),
      tools: [counted("search")],
      systemPrompt: "Be brief.",
      middleware: [governing()],
    });
    await agent.invoke(question);
    expect(server.requests.map(({ body }) => body.model)).toEqual(["gpt-4o-mini", "gpt-4o-mini"]);
    for (const { body } of server.requests) {
      expect(body.messages?.[0]).toMatchObject({ role: "system" });
      expect(body.tools).toMatchObject([{ function: { name: "search" } }]);
      expect(body.max_tokens ?? body.max_completion_tokens).toBe(100);
    }
  });

  it("a model of `models`", async () => {
    const { server, model, governing } = await setUpAgent({ rules: [downgrade] });
    const small = model({ model: "gpt-4o-mini", temperature: 0.5 });
    const agent = createAgent({
      model: model(),
      tools: [],
      middleware: [governing({ models: { "gpt-4o-mini": small } })],
    });
    await agent.invoke(question);
    expect(server.requests[0]!.body).toMatchObject({ model: "gpt-4o-mini", temperature: 0.5 });
  });

  it("the maximum it granted, where the model has none: the bound binds", async () => {
    const { server, model, governing } = await setUpAgent({
      rules: [new MonthlyBudgetRule({ maxUsd: 1 })],
      defaultMaxOutputTokens: 300,
    });
    const agent = createAgent({ model: model({ maxTokens: undefined }), tools: [], middleware: [governing()] });
    await agent.invoke(question);
    expect(server.requests[0]!.body.max_completion_tokens ?? server.requests[0]!.body.max_tokens).toBe(300);
  });

  it("a maximum lowered to what is left", async () => {
    const { server, model, governing } = await setUpAgent({
      rules: [new MonthlyBudgetRule({ maxUsd: 0.3 })],
      clamp: true,
    });
    const agent = createAgent({ model: model({ maxTokens: 1000 }), tools: [], middleware: [governing()] });
    await agent.invoke(question);
    expect(server.requests[0]!.body.max_completion_tokens ?? server.requests[0]!.body.max_tokens).toBe(300);
  });

  it("never on the instance that the application holds", async () => {
    const { model, governing } = await setUpAgent({ rules: [downgrade] });
    const own = model();
    const before = JSON.stringify(own.invocationParams());
    await createAgent({ model: own, tools: [], middleware: [governing()] }).invoke(question);
    expect(JSON.stringify(own.invocationParams())).toBe(before);
  });
});

describe("what an agent is otherwise", () => {
  const shape = z.object({ city: z.string() });
  const rules = [new MonthlyBudgetRule({ maxUsd: 10 })];

  it("it answers in a structure, by the provider or by a tool", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script([{ text: '{"city":"Bonn"}' }, { toolCalls: [{ name: "extract-1", arguments: { city: "Bonn" } }] }]);
    const byProvider = createAgent({
      model: model(),
      tools: [],
      responseFormat: providerStrategy(shape),
      middleware: [governing()],
    });
    expect((await byProvider.invoke(question)).structuredResponse).toEqual({ city: "Bonn" });
    expect(server.requests[0]!.body.response_format).toMatchObject({ type: "json_schema" });

    server.script(({ body }) => {
      const [{ function: made }] = body.tools as [{ function: { name: string } }];
      return { toolCalls: [{ name: made.name, arguments: { city: "Bonn" } }] };
    });
    const byTool = createAgent({
      model: model(),
      tools: [],
      responseFormat: toolStrategy(shape),
      middleware: [governing()],
    });
    expect((await byTool.invoke(question)).structuredResponse).toEqual({ city: "Bonn" });
  });

  it("it streams tokens", async () => {
    const { model, policy, governing } = await setUpAgent({ rules });
    const agent = createAgent({ model: model({ streaming: true }), tools: [], middleware: [governing()] });
    const chunks = await collect(await agent.stream(question, { streamMode: "messages" }));
    expect(chunks.length).toBeGreaterThan(5);
    expect(await spend(policy)).toEqual({ settled: 0.1, held: 0 });
  });

  it("its state and its answer show nothing of ours", async () => {
    const { model, governing } = await setUpAgent({ rules });
    const agent = createAgent({ model: model(), tools: [], middleware: [governing()] });
    expect(Object.keys(await agent.invoke(question))).toEqual(["messages"]);
  });
});

describe("each physical call is metered once", () => {
  it("with a handler, a governed model and the middleware together", async () => {
    const { server, policy, handler, model, governing, receipts } = await setUpAgent({
      rules: [new MonthlyBudgetRule({ maxUsd: 10 })],
    });
    server.script([calls("search"), words]);
    const agent = createAgent({
      model: govern(model({ callbacks: [handler] }), { policy }) as unknown as ChatOpenAI,
      tools: [counted("search")],
      middleware: [governing()],
    });
    await agent.invoke(question, { callbacks: [handler] });
    expect(server.requests).toHaveLength(2);
    expect(receipts).toHaveLength(2);
    expect(await spend(policy)).toEqual({ settled: 0.2, held: 0 });
  });

  it("with a handler and the middleware, also when two middlewares are attached", async () => {
    const { server, policy, handler, model, governing, receipts } = await setUpAgent({
      rules: [new MonthlyBudgetRule({ maxUsd: 10 })],
    });
    const middleware = [governing(), governing({ id: "two" })];
    expect(middleware.map(({ name }) => name)).toEqual(["DriftlockMiddleware", "DriftlockMiddleware[two]"]);
    const agent = createAgent({ model: model(), tools: [], middleware });
    await agent.invoke(question, { callbacks: [handler] });
    expect(server.requests).toHaveLength(1);
    expect(receipts).toHaveLength(1);
    expect(await spend(policy)).toEqual({ settled: 0.1, held: 0 });
  });
});
