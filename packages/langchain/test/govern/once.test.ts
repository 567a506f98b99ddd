import { MonthlyBudgetRule, PolicyViolationError, TagBasedModelDowngradeRule } from "@driftlock/core";
import { DriftlockCallbackHandler, govern } from "@driftlock/langchain";
import { RunnableLambda } from "@langchain/core/runnables";
import { createAgent } from "langchain";
import { describe, expect, it, vi } from "vitest";
import { billedUsd, chatOn, collect, failure, setUp, spend } from "../harness.js";

const rules = [new MonthlyBudgetRule({ maxUsd: 1 })];

describe("a physical call is metered once", () => {
  it.each<[string, (given: Awaited<ReturnType<typeof setUp>>) => Promise<unknown>]>([
    ["handler of the run", ({ governed, handler }) => governed().invoke("Hi", { callbacks: [handler] })],
    ["handler of the model", ({ chat, policy }) => govern(chat(), { policy }).invoke("Hi")],
    ["both", ({ chat, policy, handler }) => govern(chat(), { policy }).invoke("Hi", { callbacks: [handler] })],
    [
      "handler of the run, streamed",
      async ({ governed, handler }) => collect(await governed().stream("Hi", { callbacks: [handler] })),
    ],
    [
      "a handler of a chain around it",
      ({ governed, handler }) =>
        RunnableLambda.from((text: string) => governed().invoke(text)).invoke("Hi", { callbacks: [handler] }),
    ],
    [
      "a handler of an agent around it",
      ({ governed, handler }) =>
        createAgent({ model: governed(), tools: [] }).invoke(
          { messages: [{ role: "user", content: "Hi" }] },
          { callbacks: [handler] },
        ),
    ],
  ])("govern and a handler of the same policy: %s", async (_, call) => {
    const given = await setUp({ rules });
    await call(given);
    expect(given.server.requests).toHaveLength(1);
    expect(given.receipts).toHaveLength(1);
    expect(await spend(given.policy)).toEqual({ settled: 0.1, held: 0 });
  });

  it("the model beside a governed one is still the handler's", async () => {
    const { chat, governed, handler, receipts, server } = await setUp({ rules });
    const both = RunnableLambda.from(async (text: string) => {
      await governed().invoke(text);
      return chat({ callbacks: [] }).invoke(text);
    });
    await both.invoke("Hi", { callbacks: [handler] });
    expect(server.requests).toHaveLength(2);
    expect(receipts).toHaveLength(2);
  });

  it("each of two policies meters it for itself", async () => {
    const one = await setUp({ rules });
    const other = await setUp({ rules });
    await one.governed().invoke("Hi", { callbacks: [other.handler] });
    await govern(one.governed(), { policy: other.policy }).invoke("Hi");
    expect(await spend(one.policy)).toEqual({ settled: 0.2, held: 0 });
    expect(await spend(other.policy)).toEqual({ settled: 0.2, held: 0 });
  });

  it("a refusal of another policy's handler gives the hold back: nothing was sent", async () => {
    const rich = await setUp({ rules });
    const poor = await setUp({ rules: [new MonthlyBudgetRule({ maxUsd: 0 })] });
    for (const call of [
      rich.governed().invoke("Hi", { callbacks: [poor.handler] }),
      rich.governed().stream("Hi", { callbacks: [poor.handler] }),
    ]) {
      const error = PolicyViolationError.find(await failure(call));
      expect(error?.ruleName).toBe("MonthlyBudgetRule");
    }
    expect(rich.server.requests).toEqual([]);
    expect(await spend(rich.policy)).toEqual({ settled: 0, held: 0 });
  });

  it("and what govern itself does not let go gives the hold of another policy's handler back", async () => {
    const downgrade = new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "gpt-4o-mini" });
    const one = await setUp({ rules: [downgrade] });
    const other = await setUp({ rules, prices: { overrides: { o3: { inputUsdPerMTok: 0, outputUsdPerMTok: 100 } } } });
    const models = { "gpt-4o-mini": chatOn(one.server, { model: "o3" }) };
    const call = one.governed({}, { models }).invoke("Hi", { callbacks: [other.handler] });
    expect(await failure(call)).toMatchObject({ name: "ConfigError", field: "model" });
    await vi.waitFor(() => expect(other.released).toHaveLength(1));
    expect(await spend(other.policy)).toEqual({ settled: 0, held: 0 });
  });

  it("a model that its policy governs already is refused at construction", async () => {
    const { governed, policy } = await setUp({ rules });
    expect(() => govern(governed(), { policy })).toThrow("is governed by this policy already");
  });

  it("a handler made after it, of a governed model's own callbacks, does not count its attempts twice", async () => {
    const { server, policy, receipts } = await setUp({ rules });
    server.script([{ status: 500, usage: {} }, {}]);
    const handler = new DriftlockCallbackHandler({ policy });
    const model = govern(chatOn(server, { maxTokens: 100, maxRetries: 1, callbacks: [handler] }), { policy });
    await model.invoke("Hi");
    expect(server.requests).toHaveLength(2);
    expect(receipts).toHaveLength(2);
    expect((await spend(policy)).settled).toBeGreaterThanOrEqual(billedUsd(server.bill));
  });
});
