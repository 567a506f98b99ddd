import { AzureOpenAI } from "openai";
import { describe, expect, it } from "vitest";
import type { Context } from "../../src/domain/context.js";
import { PolicyEngine } from "../../src/engine.js";
import { UnknownModelError } from "../../src/errors/policy-violation-error.js";
import { governFetch } from "../../src/fetch/index.js";
import { RuleDecision } from "../../src/policy/decision.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { failure } from "../engine/kit.js";
import { billedUsd, collect, GPT, messages, setUp, spend } from "./kit.js";

describe("Azure", () => {
  const prices = {
    overrides: {
      "our-gpt": { inputUsdPerMTok: 1_000, outputUsdPerMTok: 1_000 },
      "our-mini": { inputUsdPerMTok: 1_000, outputUsdPerMTok: 1_000 },
      // What the answers call themselves: not the price of the deployment.
      "gpt-4o": { inputUsdPerMTok: 9_000, outputUsdPerMTok: 9_000 },
    },
  };
  const azureOf = ({ server, fetch }: Awaited<ReturnType<typeof setUp>>) =>
    new AzureOpenAI({ endpoint: server.origin, apiKey: "any", apiVersion: "2024-10-21", fetch, maxRetries: 0 });

  it("is judged and priced by its deployment, whatever the body or the answer call the model", async () => {
    const sides = await setUp({ policy: { prices }, server: { reply: { model: "gpt-4o-2024-08-06" } } });
    await azureOf(sides).chat.completions.create({ model: "our-gpt", messages });
    await collect(await azureOf(sides).chat.completions.create({ model: "our-gpt", messages, stream: true }));
    const body = JSON.stringify({ model: "gpt-4o", messages });
    await (
      await sides.fetch(`${sides.server.origin}/openai/deployments/our-gpt/chat/completions`, { method: "POST", body })
    ).text();
    expect(sides.receipts.map(({ model, estimated }) => [model, estimated])).toEqual(Array(3).fill(["our-gpt", false]));
    expect(await spend(sides.policy)).toEqual({ settled: billedUsd(sides.server.bill), held: 0 });
  });

  it("gets the model that a rule chose in its path, with the rest of the address kept", async () => {
    const rule = new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "our-mini" });
    const sides = await setUp({ policy: { prices, rules: [rule] } });
    await azureOf(sides).chat.completions.create({ model: "our-gpt", messages });
    await azureOf(sides).embeddings.create({ model: "our-gpt", input: "Hi", dimensions: 4 });
    expect(sides.server.requests.map(({ path, body }) => [path, body.model])).toEqual([
      ["/openai/deployments/our-mini/chat/completions?api-version=2024-10-21", "our-mini"],
      ["/openai/deployments/our-mini/embeddings?api-version=2024-10-21", "our-mini"],
    ]);
  });

  it("a deployment without a price is refused, and the error shows what to write", async () => {
    const sides = await setUp();
    const error = await failure(azureOf(sides).chat.completions.create({ model: "secret-project", messages }));
    expect(UnknownModelError.find(error)?.message).toContain('"secret-project": { inputUsdPerMTok');
    expect(sides.server.requests).toEqual([]);
  });
});

describe("OpenRouter", () => {
  it.each(["whole", "streamed"])("is charged its own cost, %s", async (way) => {
    const policy = { unknownModel: { inputUsdPerMTok: 1, outputUsdPerMTok: 1 } };
    const { openai, server, policy: engine, receipts } = await setUp({ policy, fetch: { provider: "openrouter" } });
    server.script({ usage: { costUsd: 0.0123 } });
    const call = { model: "maker/model", messages };
    if (way === "whole") await openai.chat.completions.create(call);
    else
      await collect(
        await openai.chat.completions.create({ ...call, stream: true, stream_options: { include_usage: true } }),
      );
    expect(receipts).toMatchObject([{ costUsd: 0.0123, estimated: false }]);
    expect(await spend(engine)).toEqual({ settled: billedUsd(server.bill), held: 0 });
  });
});

describe("a server of your own", () => {
  it("costs nothing when its provider is free, and gets the maximum by the name it knows", async () => {
    const { openai, server, receipts, policy } = await setUp({
      policy: { prices: { free: ["ollama"] } },
      fetch: { provider: "ollama" },
    });
    await openai.chat.completions.create({ model: "llama3.2", messages });
    await collect(await openai.chat.completions.create({ model: "llama3.2", messages, stream: true }));
    expect(receipts).toMatchObject([{ costUsd: 0 }, { costUsd: 0 }]);
    expect(server.requests[0]!.body).toMatchObject({ max_tokens: 4_096 });
    expect((await spend(policy)).settled).toBe(0);
  });

  it("without that is a model nobody knows the price of: refused", async () => {
    const { openai, server } = await setUp();
    expect(
      UnknownModelError.find(await failure(openai.chat.completions.create({ model: "llama3.2", messages }))),
    ).toBeDefined();
    expect(server.requests).toEqual([]);
  });
});

describe("whose price list applies", () => {
  async function provider(url: string, option?: string) {
    const seen: Context[] = [];
    const watch = { name: "Watch", evaluate: (context: Context) => (seen.push(context), RuleDecision.allow()) };
    const policy = new PolicyEngine({ rules: [watch], unknownModel: "allow" });
    const fetch = governFetch(policy, { fetch: async () => new Response("{}"), provider: option });
    const response = await fetch(url, {
      method: "POST",
      body: JSON.stringify({ model: GPT, messages, max_tokens: 5 }),
    });
    await response.text();
    return seen[0]!.provider;
  }

  it.each([
    ["https://api.openai.com/v1/chat/completions", "openai"],
    ["https://openrouter.ai/api/v1/chat/completions", "openrouter"],
    ["https://our.openai.azure.com/openai/v1/chat/completions", "azure"],
    ["https://api.groq.com/openai/v1/chat/completions", "groq"],
    ["https://api.anthropic.com/v1/messages", "anthropic"],
    ["http://localhost:11434/v1/chat/completions", undefined],
    ["https://gateway.example/?to=https://api.openai.com/chat/completions", undefined],
  ])("%s: %s", async (url, name) => {
    if (url.includes("?to=")) await expect(provider(url)).rejects.toThrow();
    else expect(await provider(url)).toBe(name);
  });

  it("or the one the option names", async () => {
    expect(await provider("https://api.openai.com/v1/chat/completions", "mine")).toBe("mine");
  });
});
