import { startOpenAIServer } from "@driftlock/openai-server";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, type ChatOpenAIFields, OpenAIEmbeddings } from "@langchain/openai";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { collect } from "./collect.js";

const server = await startOpenAIServer();
const configuration = { baseURL: server.url };
const chat = (fields: ChatOpenAIFields = {}) =>
  new ChatOpenAI({ model: "gpt-4o", apiKey: "any", maxRetries: 0, configuration, ...fields });
const weather = tool(() => "sunny", { name: "weather", schema: z.object({ city: z.string() }) });

beforeEach(() => server.reset());
afterAll(() => server.close());

describe.each([{ useResponsesApi: false }, { useResponsesApi: true }])("LangChain's ChatOpenAI, %o", (fields) => {
  it("invokes", async () => {
    server.script({ usage: { cachedTokens: 2, reasoningTokens: 6 } });
    const message = await chat(fields).invoke("How are you?");
    expect(message.text).toBe("A local answer: ten tokens on every call");
    expect(message.usage_metadata).toMatchObject({
      input_tokens: 7,
      output_tokens: 16,
      input_token_details: { cache_read: 2 },
      output_token_details: { reasoning: 6 },
    });
    expect(message.response_metadata.model_name).toBe("gpt-4o-2024-08-06");
  });

  it("streams", async () => {
    const chunks = await collect(await chat(fields).stream("How are you?"));
    const whole = chunks.reduce((sum, chunk) => sum.concat(chunk));
    expect(chunks.filter((chunk) => chunk.text !== "")).toHaveLength(10);
    expect(whole.text).toBe("A local answer: ten tokens on every call");
    expect(whole.usage_metadata).toMatchObject({ input_tokens: 7, output_tokens: 10 });
  });

  it("receives tool calls, whole and streamed", async () => {
    server.script({ toolCalls: [{ name: "weather", arguments: { city: "Bonn" } }] });
    const model = chat(fields).bindTools([weather]);
    const streamed = (await collect(await model.stream("Weather?"))).reduce((sum, chunk) => sum.concat(chunk));
    for (const message of [await model.invoke("Weather?"), streamed]) {
      expect(message.tool_calls).toMatchObject([{ name: "weather", args: { city: "Bonn" } }]);
    }
  });

  it("retries by itself, attempt by attempt", async () => {
    server.script([{ status: 500 }]);
    await chat({ ...fields, maxRetries: 1 }).invoke("How are you?");
    expect(server.requests.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(server.requests.map(({ headers }) => headers["x-stainless-retry-count"])).toEqual(["0", "0"]);
  });
});

it("gives LangChain a structured answer and embeddings", async () => {
  server.script([{ text: '{"city":"Bonn"}' }]);
  const structured = chat().withStructuredOutput(z.object({ city: z.string() }), { method: "jsonSchema" });
  expect(await structured.invoke("Where?")).toEqual({ city: "Bonn" });

  const vector = await new OpenAIEmbeddings({ apiKey: "any", configuration }).embedQuery("apples");
  expect(vector).toHaveLength(1536);
});
