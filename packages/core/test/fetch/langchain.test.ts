import { HumanMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { describe, expect, it } from "vitest";
import { billedUsd, collect, GPT, setUp, spend } from "./kit.js";

/** LangChain's own fetch is the SDK's: `configuration.fetch`. */
async function setUpModels() {
  const sides = await setUp();
  const configuration = { baseURL: sides.server.url, fetch: sides.fetch };
  const chat = (fields = {}) => new ChatOpenAI({ model: GPT, apiKey: "any", configuration, ...fields });
  const embedder = new OpenAIEmbeddings({ model: "text-embedding-3-small", apiKey: "any", configuration });
  return { ...sides, chat, embedder };
}

describe("LangChain's models of OpenAI, through configuration.fetch", () => {
  it.each([{}, { useResponsesApi: true }, { streamUsage: false }, { maxTokens: 50 }])("%o", async (fields) => {
    const { chat, server, policy, receipts } = await setUpModels();
    const whole = await chat(fields).invoke("How are you?");
    const pieces = await collect(await chat(fields).stream("How are you?"));
    expect(pieces.map(({ text }) => text).join("")).toBe(whole.text);
    expect(receipts.map(({ estimated }) => estimated)).toEqual([false, false]);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
    const [sent] = server.requests.map(
      ({ body }) => body.max_tokens ?? body.max_completion_tokens ?? body.max_output_tokens,
    );
    expect(sent).toBe("maxTokens" in fields ? 50 : 4_096);
  });

  it("with tools, batches and structured messages", async () => {
    const { chat, server, policy, receipts } = await setUpModels();
    const weather = tool(async () => "sunny", {
      name: "weather",
      description: "the weather",
      schema: { type: "object" },
    });
    server.script([{ toolCalls: [{ name: "weather", arguments: { city: "Bonn" } }] }]);
    const answer = await chat()
      .bindTools([weather])
      .invoke([new HumanMessage("How is Bonn?")]);
    expect(answer.tool_calls).toMatchObject([{ name: "weather", args: { city: "Bonn" } }]);
    await chat().batch(["one", "two", "three"]);
    expect(receipts).toHaveLength(4);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
  });

  it("embeddings, which no callback sees", async () => {
    const { embedder, server, policy } = await setUpModels();
    await embedder.embedDocuments(["one text", "another"]);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
    expect(billedUsd(server.bill)).toBeGreaterThan(0);
  });

  it("retries by itself: each attempt is a call", async () => {
    const { chat, server, receipts, released } = await setUpModels();
    server.script([{ status: 500 }]);
    await chat({ maxRetries: 1 }).invoke("Hi");
    expect(server.requests).toHaveLength(2);
    expect([released.length, receipts.length]).toEqual([0, 2]);
  });
});
