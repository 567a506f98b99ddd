import { MonthlyBudgetRule } from "@driftlock/core";
import type { OpenAIServer, Reply } from "@driftlock/openai-server";
import { MemorySaver } from "@langchain/langgraph";
import { createAgent, modelFallbackMiddleware, modelRetryMiddleware, type AnyAgentMiddleware } from "langchain";
import { describe, expect, it } from "vitest";
import { chatOn } from "../harness.js";
import { question, setUpAgent, warnings, words } from "./kit.js";

describe("middleware before ours", () => {
  async function said(
    order: (ours: AnyAgentMiddleware, server: OpenAIServer) => AnyAgentMiddleware[],
    replies: readonly Reply[] = [{ status: 429 }, words],
  ) {
    const count = warnings("DRIFTLOCK_MIDDLEWARE_ORDER");
    const { server, model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 100 })] });
    const agent = createAgent({ model: model(), tools: [], middleware: order(governing(), server) });
    for (let run = 0; run < 2; run++) {
      server.script(replies);
      await agent.invoke(question);
    }
    return count();
  }
  const retry = () => modelRetryMiddleware({ initialDelayMs: 0 });

  it("is named in a warning, once, when it calls the model again", async () => {
    expect(await said((ours) => [retry(), ours])).toBe(1);
  });

  it("also a retry that has had nothing to do yet", async () => {
    expect(await said((ours) => [retry(), ours], [words])).toBe(1);
  });

  it("also a fallback", async () => {
    expect(await said((ours, server) => [modelFallbackMiddleware(chatOn(server)), ours])).toBe(1);
  });

  it("is not, where ours is first", async () => {
    expect(await said((ours) => [ours, retry()])).toBe(0);
    expect(await said((ours, server) => [ours, modelFallbackMiddleware(chatOn(server, { maxTokens: 5 }))])).toBe(0);
  });
});

describe("a missing checkpointer", () => {
  it("is named in a warning, once, before anything is refused", async () => {
    const count = warnings("DRIFTLOCK_NO_CHECKPOINTER");
    const { model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 100 })] });
    const make = (options: object, more: object = {}) =>
      createAgent({ model: model(), tools: [], middleware: [governing(options)], ...more });
    await make({}).invoke(question);
    await make({ exitBehavior: "interrupt" }, { checkpointer: new MemorySaver() }).invoke(question, {
      configurable: { thread_id: "t" },
    });
    expect(count()).toBe(0);
    const lacking = make({ exitBehavior: "interrupt" });
    await lacking.invoke(question);
    await lacking.invoke(question);
    expect(count()).toBe(1);
  });
});
