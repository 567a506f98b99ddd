import { MonthlyBudgetRule } from "@driftlock/core";
import type { GovernedChatModel } from "@driftlock/langchain";
import { HumanMessage } from "@langchain/core/messages";
import { StringOutputParser } from "@langchain/core/output_parsers";
import { ChatPromptTemplate } from "@langchain/core/prompts";
import { RunnableLambda, RunnableParallel } from "@langchain/core/runnables";
import { tool } from "@langchain/core/tools";
import { createReactAgent } from "@langchain/langgraph/prebuilt";
import type { ChatOpenAIFields } from "@langchain/openai";
import { createAgent } from "langchain";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { billedUsd, collect, hasModelEvents, known, setUp, spend } from "../harness.js";

const rules = [new MonthlyBudgetRule({ maxUsd: 100 })];
const apis: Readonly<Record<string, ChatOpenAIFields>> = {
  "chat completions": {},
  responses: { useResponsesApi: true },
};
const answer = "A local answer: ten tokens on every call";
const prompt = ChatPromptTemplate.fromMessages([["human", "{input}"]]);
const input = { input: "Hi" };
const weather = tool(({ city }: { city: string }) => `sunny in ${city}`, {
  name: "weather",
  description: "tells the weather",
  schema: z.object({ city: z.string() }),
});

/** Every way to a text, and the text. */
const ways: Readonly<Record<string, (model: GovernedChatModel) => Promise<string>>> = {
  invoke: async (model) => (await model.invoke("Hi")).text,
  stream: async (model) => (await collect(await model.stream("Hi"))).map(({ text }) => text).join(""),
  batch: async (model) => (await model.batch(["Hi"]))[0]!.text,
  generate: async (model) => (await model.generate([[new HumanMessage("Hi")]])).generations[0]![0]!.text,
  "streamEvents v2": async (model) => {
    const events = await collect(model.streamEvents("Hi", { version: "v2" }));
    return events
      .filter(({ event }) => event === "on_chat_model_stream")
      .map(({ data }) => data.chunk.text)
      .join("");
  },
  "streamEvents of content blocks": async (model) => {
    const stream = model.streamEvents("Hi") as unknown as AsyncIterable<{ event: string; delta?: { text?: string } }>;
    return (await collect(stream)).map(({ delta }) => delta?.text ?? "").join("");
  },
  withConfig: async (model) => (await model.withConfig({ tags: ["a"] }).invoke("Hi")).text,
  "a chain": (model) => prompt.pipe(model).pipe(new StringOutputParser()).invoke(input),
  "a chain's stream": async (model) =>
    (await collect(await prompt.pipe(model).pipe(new StringOutputParser()).stream(input))).join(""),
  RunnableParallel: async (model) => (await RunnableParallel.from({ a: model }).invoke("Hi"))["a"]!.text,
  "a lambda": async (model) => (await RunnableLambda.from(() => model.invoke("Hi")).invoke("Hi")).text,
};

describe.each(Object.keys(apis))("a governed ChatOpenAI: %s", (api) => {
  it.each(known(ways))("%s answers, and is settled at exactly what was billed", async (way) => {
    const { governed, policy, server, receipts } = await setUp({ rules });
    expect(await ways[way]!(governed(apis[api]))).toBe(answer);
    expect(server.requests).toHaveLength(1);
    expect(receipts).toMatchObject([{ estimated: false, costUsd: billedUsd(server.bill) }]);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
  });
});

const asksForWeather = [{ toolCalls: [{ name: "weather", arguments: { city: "Bonn" } }] }];
const City = z.object({ city: z.string() });

describe.each(Object.keys(apis))("what is bound to a governed model arrives: %s", (api) => {
  it("tools", async () => {
    const { governed, server } = await setUp({ rules });
    server.script(asksForWeather);
    const model = governed(apis[api]).bindTools!([weather], { tool_choice: "auto" });
    expect((await model.invoke("Hi")).tool_calls).toMatchObject([{ name: "weather", args: { city: "Bonn" } }]);
    expect(JSON.stringify(server.requests[0]!.body.tools)).toContain("tells the weather");
  });

  it("tools, then a config", async () => {
    const { governed, server } = await setUp({ rules });
    server.script(asksForWeather);
    const model = governed(apis[api]).bindTools!([weather]).withConfig({ tags: ["a"] });
    expect((await model.invoke("Hi")).tool_calls).toMatchObject([{ name: "weather" }]);
    expect(server.requests[0]!.body.tools).toHaveLength(1);
  });

  it("tools, streamed", async () => {
    const { governed, server } = await setUp({ rules });
    server.script(asksForWeather);
    const chunks = await collect(await governed(apis[api]).bindTools!([weather]).stream("Hi"));
    const whole = chunks.reduce((sum, chunk) => sum.concat(chunk));
    expect(whole.tool_calls).toMatchObject([{ name: "weather", args: { city: "Bonn" } }]);
  });

  it.each(["jsonSchema", "functionCalling"] as const)("a structure by %s", async (method) => {
    const { governed, policy, server } = await setUp({ rules });
    const { invoke, stream } = structures(governed(apis[api]), method);
    const said = method === "jsonSchema" ? { text: '{"city":"Bonn"}' } : calls("extract", { city: "Bonn" });
    server.script(said);
    expect(await invoke()).toEqual({ city: "Bonn" });
    // LangChain's own parsers cannot read what Responses streams.
    if (api !== "responses") expect((await stream()).at(-1)).toEqual({ city: "Bonn" });
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
  });

  it("a structure with the raw message", async () => {
    const { governed, server } = await setUp({ rules });
    server.script({ text: '{"city":"Bonn"}' });
    const model = governed(apis[api]).withStructuredOutput(City, { includeRaw: true });
    expect(await model.invoke("Where?")).toMatchObject({ parsed: { city: "Bonn" }, raw: { text: '{"city":"Bonn"}' } });
  });
});

describe("a governed model in an agent", () => {
  const say = { messages: [{ role: "user", content: "Weather?" }] };
  const agents = {
    createAgent: (model: GovernedChatModel) => createAgent({ model, tools: [weather] }),
    createReactAgent: (model: GovernedChatModel) => createReactAgent({ llm: model, tools: [weather] }),
  };

  it.each(Object.keys(agents) as (keyof typeof agents)[])("%s: every call is metered", async (name) => {
    const { governed, policy, server, receipts } = await setUp({ rules });
    server.script(asksForWeather);
    const { messages } = await agents[name](governed()).invoke(say);
    expect(messages.map((message) => message.getType())).toEqual(["human", "ai", "tool", "ai"]);
    expect(messages.at(-1)!.text).toBe(answer);
    expect(receipts).toHaveLength(2);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
  });

  it.each(Object.keys(agents) as (keyof typeof agents)[])("%s: its tokens stream", async (name) => {
    const { governed, policy, server } = await setUp({ rules });
    server.script(asksForWeather);
    const parts = await collect(await agents[name](governed()).stream(say, { streamMode: "messages" }));
    const texts = (parts as unknown as [{ getType(): string; text: string }][]).filter(
      ([part]) => part.getType() === "ai",
    );
    expect(texts.filter(([{ text }]) => text !== "").length).toBe(10);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
  });

  it("createAgent with a response format", async () => {
    const { governed, server, receipts } = await setUp({ rules });
    server.script({ text: '{"city":"Bonn"}' });
    const agent = createAgent({ model: governed(), tools: [], responseFormat: City });
    expect((await agent.invoke(say)).structuredResponse).toEqual({ city: "Bonn" });
    expect(server.requests[0]!.body.response_format).toMatchObject({ type: "json_schema" });
    expect(receipts).toHaveLength(1);
  });

  it.runIf(hasModelEvents)("streamEvents v3 of an agent: its messages stream, and every call is metered", async () => {
    const { governed, policy, server, receipts } = await setUp({ rules });
    server.script(asksForWeather);
    const run = (await createAgent({ model: governed(), tools: [weather] }).streamEvents(say, {
      version: "v3",
    })) as unknown as { messages: AsyncIterable<{ text: AsyncIterable<string> }> };
    const texts: string[] = [];
    for await (const message of run.messages) for await (const text of message.text) texts.push(text);
    expect(texts).toHaveLength(10);
    expect(texts.join("")).toBe(answer);
    expect(receipts).toHaveLength(2);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
  });

  it("a tracer sees one run for each call, the model's own", async () => {
    const { governed } = await setUp({ rules });
    const events = await collect(createAgent({ model: governed(), tools: [] }).streamEvents(say, { version: "v2" }));
    const starts = events.filter(({ event }) => event === "on_chat_model_start");
    expect(starts.map(({ name }) => name)).toEqual(["ChatOpenAI"]);
  });
});

function structures(model: GovernedChatModel, method: "jsonSchema" | "functionCalling") {
  const structured = model.withStructuredOutput(City, { method });
  return {
    invoke: () => structured.invoke("Where?"),
    stream: async () => collect(await structured.stream("Where?")),
  };
}

function calls(name: string, args: object) {
  return { toolCalls: [{ name, arguments: args }] };
}
