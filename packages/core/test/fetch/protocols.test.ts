import { describe, expect, it } from "vitest";
import { billedUsd, clients, CLAUDE, collect, GPT, messages, setUp, spend } from "./kit.js";

const weather = { name: "weather", arguments: { city: "Bonn", days: [1, 2, 3] } };

describe("every protocol is judged, sent and settled to its bill", () => {
  type Sides = Awaited<ReturnType<typeof setUp>>;
  type Clients = Pick<Sides, "openai" | "anthropic">;
  const calls: Record<string, (sides: Clients) => Promise<unknown>> = {
    "chat completions": ({ openai }) => openai.chat.completions.create({ model: GPT, messages }),
    "chat completions, streamed": async ({ openai }) =>
      collect(await openai.chat.completions.create({ model: GPT, messages, stream: true })),
    "chat completions, streamed with usage": async ({ openai }) =>
      collect(
        await openai.chat.completions.create({
          model: GPT,
          messages,
          stream: true,
          stream_options: { include_usage: true },
        }),
      ),
    "chat completions through the SDK's runner": ({ openai }) =>
      openai.chat.completions.stream({ model: GPT, messages }).finalChatCompletion(),
    "three choices": ({ openai }) => openai.chat.completions.create({ model: GPT, messages, n: 3 }),
    Responses: ({ openai }) => openai.responses.create({ model: GPT, input: "How are you?", instructions: "Be kind" }),
    "Responses, streamed": async ({ openai }) =>
      collect(await openai.responses.create({ model: GPT, input: messages, stream: true })),
    embeddings: ({ openai }) =>
      openai.embeddings.create({ model: "text-embedding-3-small", input: ["one text", "another"], dimensions: 8 }),
    "embeddings of tokens": ({ openai }) =>
      openai.embeddings.create({ model: "text-embedding-3-small", input: [[1, 2, 3], [4]], dimensions: 8 }),
    messages: ({ anthropic }) =>
      anthropic.messages.create({ model: CLAUDE, max_tokens: 500, messages, system: "Be kind" }),
    "messages, streamed": async ({ anthropic }) =>
      collect(await anthropic.messages.create({ model: CLAUDE, max_tokens: 500, messages, stream: true })),
    "messages through the SDK's runner": ({ anthropic }) =>
      anthropic.messages.stream({ model: CLAUDE, max_tokens: 500, messages }).finalMessage(),
    "beta messages": ({ anthropic }) => anthropic.beta.messages.create({ model: CLAUDE, max_tokens: 500, messages }),
  };
  const replies = {
    text: {},
    "tool calls": { text: "Let me look.", toolCalls: [weather] },
    "cached and reasoning tokens": { usage: { promptTokens: 20, cachedTokens: 15, reasoningTokens: 30 } },
  };
  const rows = Object.entries(calls).flatMap(([name, call]) =>
    Object.entries(replies)
      .filter(([kind]) => kind === "text" || !name.startsWith("embeddings"))
      .map(([kind, reply]) => [name, kind, call, reply] as const),
  );

  it.each(rows)("%s (%s), and the client sees what it would see without", async (_name, _kind, call, reply) => {
    const sides = await setUp({ server: { reply, now: () => 0 } });
    const governed = await call(sides);
    expect(sides.receipts).toHaveLength(1);
    expect(sides.receipts[0]).toMatchObject({ estimated: false });
    expect(await spend(sides.policy)).toEqual({ settled: billedUsd(sides.server.bill), held: 0 });
    expect(billedUsd(sides.server.bill)).toBeGreaterThan(0);
    // Without a policy, request by request; only ids differ.
    expect(comparable(governed)).toEqual(comparable(await call(clients(sides.server))));
  });
});

/** Ids count requests; a chunk says `usage: null` once usage is asked for. */
function comparable(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, field: unknown) => (key === "usage" && field === null ? undefined : field)).replaceAll(
      /req_\d+/g,
      "req",
    ),
  );
}

describe("Anthropic's usage", () => {
  it.each(["whole", "streamed"])("counts what is read from and written to the cache, %s", async (way) => {
    const { anthropic, server, policy } = await setUp();
    server.script({ usage: { promptTokens: 2_000, cachedTokens: 1_500, cacheWriteTokens: 300, completionTokens: 10 } });
    const call = { model: CLAUDE, max_tokens: 500, messages };
    if (way === "whole") await anthropic.messages.create(call);
    else await collect(await anthropic.messages.create({ ...call, stream: true }));
    // 200 + 1500 / 10 + 300 × 1.25 + 10 tokens.
    expect(await spend(policy)).toEqual({ settled: 0.735, held: 0 });
    expect(billedUsd(server.bill)).toBe(0.735);
  });
});

describe("the model that answered, where the answer names it, decides the price", () => {
  const prices = {
    overrides: {
      [GPT]: { inputUsdPerMTok: 1_000, outputUsdPerMTok: 1_000 },
      [CLAUDE]: { inputUsdPerMTok: 1_000, outputUsdPerMTok: 1_000 },
      cheaper: { inputUsdPerMTok: 0, outputUsdPerMTok: 500 },
    },
  };
  type Sides = Awaited<ReturnType<typeof setUp>>;
  const calls: Record<string, (sides: Sides) => Promise<unknown>> = {
    chat: ({ openai }) => openai.chat.completions.create({ model: GPT, messages }),
    "chat, streamed": async ({ openai }) =>
      collect(await openai.chat.completions.create({ model: GPT, messages, stream: true })),
    "Responses, streamed": async ({ openai }) =>
      collect(await openai.responses.create({ model: GPT, input: "Hi", stream: true })),
    messages: ({ anthropic }) => anthropic.messages.create({ model: CLAUDE, max_tokens: 50, messages }),
    "messages, streamed": async ({ anthropic }) =>
      collect(await anthropic.messages.create({ model: CLAUDE, max_tokens: 50, messages, stream: true })),
  };
  it.each(Object.entries(calls))("%s", async (_, call) => {
    const sides = await setUp({ policy: { prices }, server: { reply: { model: "cheaper" } } });
    await call(sides);
    expect(await spend(sides.policy)).toEqual({ settled: 0.005, held: 0 });
  });
});

it("a usage of nothing but zeros is none: the call costs its bound", async () => {
  const sides = await setUp({ server: { reply: { usage: { promptTokens: 0, completionTokens: 0 } } } });
  await sides.openai.chat.completions.create({ model: GPT, messages, max_tokens: 50 });
  await sides.anthropic.messages.create({ model: CLAUDE, messages, max_tokens: 50 });
  expect(sides.receipts.map(({ estimated, costUsd, heldUsd }) => [estimated, costUsd === heldUsd])).toEqual([
    [true, true],
    [true, true],
  ]);
});
