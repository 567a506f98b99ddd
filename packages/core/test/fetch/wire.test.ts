import type { ReceivedRequest } from "@driftlock/openai-server";
import { describe, expect, it } from "vitest";
import type { Rule } from "../../src/policy/rule.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { CLAUDE, clients, collect, FLAT, GPT, messages, setUp } from "./kit.js";

const tools = [{ type: "function" as const, function: { name: "weather", parameters: { type: "object" } } }];
const downgrade = (downgradeTo: string): Rule => new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo });
const wide = new BudgetRule({ maxUsd: 1_000, per: "lifetime" });
/** Room for 300 output tokens, where a caller's own maximum may be lowered. */
const tight = { rules: [new MaxCostPerRequestRule({ maxUsd: 0.4 })], clamp: true };

describe("the model that a rule chose is the one that is sent", () => {
  it.each(["chat", "Responses", "embeddings", "messages"])("in %s", async (protocol) => {
    const target = {
      chat: "gpt-4o-mini",
      Responses: "gpt-4o-mini",
      embeddings: "text-embedding-3-small",
      messages: CLAUDE,
    };
    const model = target[protocol as keyof typeof target];
    const { openai, anthropic, server } = await setUp({ policy: { rules: [downgrade(model)] } });
    if (protocol === "chat") await openai.chat.completions.create({ model: GPT, messages });
    if (protocol === "Responses") await openai.responses.create({ model: GPT, input: "Hi" });
    if (protocol === "embeddings") await openai.embeddings.create({ model: GPT, input: "Hi" });
    if (protocol === "messages") await anthropic.messages.create({ model: GPT, max_tokens: 9, messages });
    expect(server.requests.map(({ body }) => body.model)).toEqual([model]);
  });
});

describe("the maximum that was granted is the one that is sent", () => {
  const maximums = ({ body }: ReceivedRequest) =>
    Object.fromEntries(Object.entries(body).filter(([name]) => name.includes("max_")));

  it.each([
    ["OpenAI's own model", { model: GPT }, { max_completion_tokens: 4_096 }],
    ["a reasoning model", { model: "gpt-5-mini" }, { max_completion_tokens: 16_384 }],
    ["somebody else's model", { model: FLAT }, { max_tokens: 4_096 }],
    ["a maximum of null", { model: GPT, max_tokens: null }, { max_tokens: null, max_completion_tokens: 4_096 }],
    ["a maximum of -1, which means none", { model: FLAT, max_tokens: -1 }, { max_tokens: 4_096 }],
  ])("a chat completion without one: %s", async (_, fields, sent) => {
    const { openai, server } = await setUp();
    await openai.chat.completions.create({ messages, ...fields });
    expect(maximums(server.requests[0]!)).toEqual(sent);
  });

  it.each(["max_tokens", "max_completion_tokens"])("a caller's own %s stays as it is", async (field) => {
    const { openai, server } = await setUp();
    await openai.chat.completions.create({ model: GPT, messages, [field]: 7 });
    expect(maximums(server.requests[0]!)).toEqual({ [field]: 7 });
  });

  it.each(["max_tokens", "max_completion_tokens"])("a %s that does not fit is lowered in its field", async (field) => {
    const { openai, server } = await setUp({ policy: tight });
    await openai.chat.completions.create({ model: FLAT, messages, [field]: 9_000 });
    expect(maximums(server.requests[0]!)).toEqual({ [field]: 400 });
  });

  it("the cost of a request alone sets it, where the caller set none", async () => {
    const { openai, server } = await setUp({ policy: tight });
    await openai.chat.completions.create({ model: FLAT, messages });
    await openai.responses.create({ model: FLAT, input: "Hi" });
    expect(server.requests.map(maximums)).toEqual([{ max_tokens: 400 }, { max_output_tokens: 400 }]);
  });

  it("in Responses and messages, too", async () => {
    const { openai, anthropic, server } = await setUp({ policy: tight });
    await openai.responses.create({ model: FLAT, input: "Hi", max_output_tokens: 9_000 });
    await anthropic.messages.create({ model: FLAT, max_tokens: 9_000, messages });
    await openai.responses.create({ model: FLAT, input: "Hi", max_output_tokens: 20 });
    await anthropic.messages.create({ model: FLAT, max_tokens: 20, messages });
    expect(server.requests.map(maximums)).toEqual([
      { max_output_tokens: 400 },
      { max_tokens: 400 },
      { max_output_tokens: 20 },
      { max_tokens: 20 },
    ]);
  });

  it("goes by the name a reasoning model takes when a rule moves the call to one", async () => {
    const { openai, server } = await setUp({ policy: { rules: [downgrade("gpt-5-mini")] } });
    await openai.chat.completions.create({ model: GPT, messages, max_tokens: 50 });
    expect(maximums(server.requests[0]!)).toEqual({ max_completion_tokens: 50 });
  });

  it("is not sent in shadow, where nothing of a call is changed", async () => {
    const { openai, server } = await setUp({ policy: { rules: [wide, downgrade("gpt-4o-mini")], mode: "shadow" } });
    await openai.chat.completions.create({ model: GPT, messages });
    expect(server.requests[0]!.body).toEqual({ model: GPT, messages });
  });

  it("is a number of tokens, or the call is refused: servers differ in what they make of a text", async () => {
    const { openai, server } = await setUp();
    for (const max_tokens of ["100", 1.5, {}])
      await expect(
        openai.chat.completions.create({ model: GPT, messages, max_tokens: max_tokens as number }),
      ).rejects.toMatchObject({ status: 400, param: "max_tokens" });
    expect(server.requests).toEqual([]);
  });
});

describe("a stream of chat completions is asked for its usage", () => {
  const stream = { model: GPT, messages, stream: true as const };

  it("beside the options it has, and only where it is a stream", async () => {
    const { openai, server } = await setUp();
    await collect(await openai.chat.completions.create(stream));
    await collect(
      await openai.chat.completions.create({
        ...stream,
        stream_options: { include_obfuscation: false, include_usage: false },
      }),
    );
    await openai.chat.completions.create({ model: GPT, messages });
    expect(server.requests.map(({ body }) => body.stream_options)).toEqual([
      { include_usage: true },
      { include_obfuscation: false, include_usage: true },
      undefined,
    ]);
  });

  it("and the chunk that brings it is kept from a client that did not ask, given to one that did", async () => {
    const { openai } = await setUp();
    const chunks = await collect(await openai.chat.completions.create(stream));
    expect(chunks.every(({ choices }) => choices.length === 1)).toBe(true);
    const asked = await collect(
      await openai.chat.completions.create({ ...stream, stream_options: { include_usage: true } }),
    );
    expect(asked).toHaveLength(chunks.length + 1);
    expect(asked.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 10 } });
  });

  it("unless the server refuses the question: then what was streamed is charged", async () => {
    const { openai, server, receipts } = await setUp({ fetch: { streamUsage: false } });
    await collect(await openai.chat.completions.create(stream));
    expect(server.requests[0]!.body.stream_options).toBeUndefined();
    expect(receipts).toMatchObject([{ estimated: true }]);
    expect(receipts[0]!.costUsd).toBeGreaterThanOrEqual(0.01);
  });

  it("not at OpenRouter, which tells every stream's usage by itself", async () => {
    const policy = { unknownModel: { inputUsdPerMTok: 1, outputUsdPerMTok: 1 } };
    const { openai, server } = await setUp({ policy, fetch: { provider: "openrouter" } });
    await collect(await openai.chat.completions.create({ ...stream, model: "maker/model" }));
    expect(server.requests[0]!.body.stream_options).toBeUndefined();
  });
});

describe("everything else of a request is as the client sent it", () => {
  it("fields, headers, path and query", async () => {
    const { openai, anthropic, server } = await setUp();
    const bare = clients(server);
    const fields = {
      seed: 42,
      temperature: 0.1,
      logit_bias: { "50256": -100 },
      metadata: { "a \u2028 b": "\u0000 𝄞 \ud800" },
      user: "ada",
      max_completion_tokens: 50,
      tools,
    };
    for (const { openai: one, anthropic: other } of [{ openai, anthropic }, bare]) {
      await one.chat.completions.create({ model: GPT, messages, ...fields }, { headers: { "x-trace": "7" } });
      await one.responses.create({ model: GPT, input: "Hi", max_output_tokens: 50 }, { query: { a: "b c" } });
      await other.beta.messages.create({ model: CLAUDE, max_tokens: 50, messages, metadata: { user_id: "x" } });
    }
    const seen = server.requests.map(({ body, headers, path, method }) => ({ body, headers, path, method }));
    expect(seen.slice(0, 3)).toEqual(seen.slice(3));
    expect(seen[1]!.path).toBe("/v1/responses?a=b%20c");
  });
});

describe("everything of a response is as the provider sent it", () => {
  it("status, headers, address and request id", async () => {
    const { openai, server } = await setUp();
    const read = async (client: typeof openai) => {
      const { data, response, request_id } = await client.chat.completions
        .create({ model: GPT, messages })
        .withResponse();
      const { status, statusText, ok, url, redirected, type, headers } = response;
      const names = [...headers.keys()].filter((name) => name !== "date");
      return {
        status,
        statusText,
        ok,
        url,
        redirected,
        type,
        names,
        ids: [request_id, (data as { _request_id?: string })._request_id],
      };
    };
    const governed = await read(openai);
    const bare = await read(clients(server).openai);
    expect(governed).toEqual({ ...bare, ids: [server.bill[0]!.id, server.bill[0]!.id] });
    expect(governed.url).toBe(`${server.url}/chat/completions`);
  });

  it.each([400, 401, 404, 422, 429, 500, 503])("errors of status %i", async (status) => {
    const { openai, anthropic, server } = await setUp();
    server.script({ status, retryAfterMs: 1500 });
    const seen = async (call: Promise<unknown>) => {
      const { message, headers, error, constructor } = await call.then(
        () => expect.fail("it did not fail"),
        (thrown: unknown) => thrown as { message: string; headers: Headers; error: unknown },
      );
      return { message, error, constructor, retryAfter: headers.get("retry-after-ms") };
    };
    const bare = clients(server);
    expect(await seen(openai.responses.create({ model: GPT, input: "Hi" }))).toEqual(
      await seen(bare.openai.responses.create({ model: GPT, input: "Hi" })),
    );
    const message = { model: CLAUDE, max_tokens: 9, messages };
    expect(await seen(anthropic.messages.create(message))).toEqual(await seen(bare.anthropic.messages.create(message)));
  });
});
