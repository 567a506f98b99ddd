import { startOpenAIServer } from "@driftlock/openai-server";
import OpenAI, { AzureOpenAI } from "openai";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { collect } from "./collect.js";

const server = await startOpenAIServer();
const openai = new OpenAI({ baseURL: server.url, apiKey: "any", maxRetries: 0 });
const call = { model: "gpt-4o-mini", instructions: "Be kind.", input: "How are you?" };

beforeEach(() => server.reset());
afterAll(() => server.close());

describe("the Responses API", () => {
  it("answers with text and usage", async () => {
    server.script({ usage: { cachedTokens: 3, reasoningTokens: 6 } });
    const response = await openai.responses.create(call);

    expect(response).toMatchObject({ status: "completed", model: "gpt-4o-mini-2024-07-18" });
    expect(response.output_text).toBe("A local answer: ten tokens on every call");
    expect(response.usage).toEqual({
      input_tokens: 13,
      input_tokens_details: { cached_tokens: 3 },
      output_tokens: 16,
      output_tokens_details: { reasoning_tokens: 6 },
      total_tokens: 29,
    });
    expect(server.bill).toMatchObject([
      { endpoint: "/v1/responses", usage: { promptTokens: 13, completionTokens: 16 } },
    ]);
  });

  it("streams text and tool calls, and ends with the usage", async () => {
    server.script({ text: "Let me look.", toolCalls: [{ name: "weather", arguments: { city: "Bonn" } }] });
    const runner = openai.responses.stream(call);
    const types = (await collect(runner)).map(({ type }) => type);
    const response = await runner.finalResponse();

    expect(types[0]).toBe("response.created");
    expect(types.filter((type) => type === "response.output_text.delta")).toHaveLength(3);
    expect(types.at(-1)).toBe("response.completed");
    expect(response.output_text).toBe("Let me look.");
    expect(response.output[1]).toMatchObject({ type: "function_call", name: "weather", arguments: '{"city":"Bonn"}' });
    expect(response.usage).toMatchObject({ input_tokens: 13, output_tokens: 7 });
    expect(server.bill).toMatchObject([{ streamedTokens: 7, outcome: "completed" }]);
  });

  it("is incomplete at max_output_tokens, which is 16 at least", async () => {
    server.script({ text: "x".repeat(100) });
    const response = await openai.responses.create({ ...call, max_output_tokens: 16 });
    expect(response).toMatchObject({ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } });
    expect(response.usage?.output_tokens).toBe(16);

    const refused = openai.responses.create({ ...call, max_output_tokens: 15 });
    await expect(refused).rejects.toMatchObject({ status: 400, param: "max_output_tokens" });
  });
});

describe("the Embeddings API", () => {
  const create = (input: string | string[] | number[], encoding_format?: "float") =>
    openai.embeddings.create({ model: "text-embedding-3-small", input, dimensions: 64, encoding_format });

  it("embeds texts, the same text the same way, in both encodings", async () => {
    const { data, usage } = await create(["apples", "pears", "apples"]);
    const [apples, pears, again] = data.map(({ embedding }) => embedding);

    expect(apples).toHaveLength(64);
    expect(again).toEqual(apples);
    expect(pears).not.toEqual(apples);
    expect(Math.hypot(...apples!)).toBeCloseTo(1);
    expect((await create("apples", "float")).data[0]!.embedding).toEqual(apples);
    expect(usage).toEqual({ prompt_tokens: 6, total_tokens: 6 });
    expect(server.bill[0]).toMatchObject({
      model: "text-embedding-3-small",
      usage: { promptTokens: 6, completionTokens: 0 },
    });
  });

  it("counts tokens that are tokens already", async () => {
    expect((await create([1, 2, 3])).usage.prompt_tokens).toBe(3);
  });
});

describe("the Models API", () => {
  it("lists names and costs nothing", async () => {
    const { data } = await openai.models.list();
    expect(data.map(({ id }) => id)).toContain("gpt-4o");
    expect(server.requests).toHaveLength(1);
    expect(server.bill).toEqual([]);
  });
});

describe("Azure's paths", () => {
  const azure = new AzureOpenAI({ endpoint: server.origin, apiKey: "any", apiVersion: "2024-10-21", maxRetries: 0 });
  const messages = [{ role: "user" as const, content: "How are you?" }];

  it("name the model: what the body says does not count", async () => {
    const completion = await azure.chat.completions.create({ model: "gpt-4o-mini", messages });
    expect(completion.model).toBe("gpt-4o-mini-2024-07-18");
    expect(server.requests[0]!.path).toBe("/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21");

    const response = await fetch(`${server.origin}/openai/deployments/gpt-4o/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ model: "gpt-4o-mini", messages }),
    });
    expect(await response.json()).toMatchObject({ model: "gpt-4o-2024-08-06" });
    expect(server.bill.map(({ model }) => model)).toEqual(["gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06"]);
  });
});

describe("OpenRouter's own cost", () => {
  it("is told with the usage, and billed", async () => {
    server.script({ usage: { costUsd: 0.25 } });
    const { usage } = await openai.chat.completions.create({
      model: "gpt-4o",
      messages: [{ role: "user", content: "Hi" }],
    });
    expect(usage).toMatchObject({ cost: 0.25 });
    expect(server.bill).toMatchObject([{ usage: { costUsd: 0.25 } }]);
  });
});
