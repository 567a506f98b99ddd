import { startOpenAIServer } from "@driftlock/openai-server";
import OpenAI, { APIConnectionError, APIUserAbortError, InternalServerError, RateLimitError } from "openai";
import { afterAll, beforeEach, describe, expect, it } from "vitest";

const server = await startOpenAIServer();
const openai = new OpenAI({ baseURL: server.url, apiKey: "any", maxRetries: 0 });
const messages = [{ role: "user" as const, content: "How are you?" }];
const call = { model: "gpt-4o", messages };
const nothing = { promptTokens: 0, completionTokens: 0, cachedTokens: 0, reasoningTokens: 0 };

beforeEach(() => server.reset());
afterAll(() => server.close());

describe("an error status", () => {
  it("is retried by the client, and every attempt is seen and numbered", async () => {
    server.script([
      { status: 429, retryAfterMs: 1 },
      { status: 500, retryAfterMs: 1 },
    ]);
    const completion = await openai.chat.completions.create(call, { maxRetries: 2 });

    expect(server.requests.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(server.bill.map(({ outcome }) => outcome)).toEqual(["refused", "failed", "completed"]);
    expect(server.bill.map(({ usage }) => usage.completionTokens)).toEqual([0, 0, 10]);
    expect(completion._request_id).toBe(server.bill[2]!.id);

    await openai.chat.completions.create(call);
    expect(server.requests[3]!.attempt).toBe(1);
  });

  it("comes as OpenAI words it", async () => {
    server.script([
      { status: 429, retryAfterMs: 1500 },
      { status: 429, error: { type: "insufficient_quota", code: "insufficient_quota" } },
      { status: 402 },
      { status: 500 },
    ]);
    const failure = () =>
      openai.chat.completions.create(call).then(
        () => undefined,
        (error: unknown) => error,
      );

    const limited = (await failure()) as RateLimitError;
    expect(limited).toBeInstanceOf(RateLimitError);
    expect(limited).toMatchObject({ type: "requests", code: "rate_limit_exceeded" });
    expect(limited.headers.get("retry-after")).toBe("2");
    expect(await failure()).toMatchObject({ status: 429, code: "insufficient_quota" });
    expect(await failure()).toMatchObject({ status: 402, code: "billing_hard_limit_reached" });
    expect(await failure()).toBeInstanceOf(InternalServerError);
  });

  it("can be billed when it is the provider's fault, never when it is the client's", async () => {
    const usage = { promptTokens: 7, completionTokens: 5 };
    server.script([
      { status: 400, usage },
      { status: 500, usage },
    ]);
    for (const status of [400, 500])
      await expect(openai.chat.completions.create(call)).rejects.toMatchObject({ status });
    expect(server.bill.map((entry) => entry.usage)).toEqual([nothing, { ...nothing, ...usage }]);
  });
});

describe("a client that leaves", () => {
  it.each([{ delayMs: 60_000 }, { hang: true }])("is billed its prompt when nothing had come: %o", async (reply) => {
    server.script(reply);
    const controller = new AbortController();
    const answer = openai.chat.completions.create(call, { signal: controller.signal });
    const aborted = expect(answer).rejects.toBeInstanceOf(APIUserAbortError);
    await server.arrived(1);
    expect(server.bill).toEqual([]);
    controller.abort();
    await aborted;
    await server.idle();

    expect(server.bill).toEqual([
      {
        id: server.requests[0]!.id,
        model: "gpt-4o-2024-08-06",
        endpoint: "/v1/chat/completions",
        usage: { ...nothing, promptTokens: 7 },
        outcome: "aborted",
        streamedTokens: 0,
      },
    ]);
  });

  it("is billed nothing while the script still thinks", async () => {
    server.script(() => new Promise(() => {}));
    const answer = openai.chat.completions.create(call, { timeout: 20 });
    await expect(answer).rejects.toBeInstanceOf(APIConnectionError);
    await server.idle();
    expect(server.bill).toMatchObject([{ outcome: "aborted", usage: nothing }]);
  });

  it("is billed what was streamed, and the reasoning before it", async () => {
    server.script({ hangAfterChunks: 3, usage: { reasoningTokens: 50 } });
    const stream = await openai.chat.completions.create({ ...call, stream: true });
    let text = "";
    for await (const chunk of stream) {
      text += chunk.choices[0]!.delta.content ?? "";
      if (text.length === 12) break;
    }
    await server.idle();

    expect(text).toBe("A local answ");
    expect(server.bill).toMatchObject([
      { outcome: "aborted", streamedTokens: 3, usage: { promptTokens: 7, completionTokens: 53, reasoningTokens: 50 } },
    ]);
  });

  it("stops a slow stream between two chunks", async () => {
    server.script({ chunkDelayMs: 60_000 });
    const stream = await openai.chat.completions.create({ ...call, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]!.delta.content) break;
    await server.idle();
    expect(server.bill).toMatchObject([{ outcome: "aborted", streamedTokens: 1 }]);
  });
});

describe("a connection that breaks", () => {
  it("ends a stream in the middle; what was streamed is billed", async () => {
    server.script({ cutAfterChunks: 4 });
    const stream = await openai.chat.completions.create({ ...call, stream: true });
    let text = "";
    const read = async () => {
      for await (const chunk of stream) text += chunk.choices[0]!.delta.content ?? "";
    };
    await expect(read()).rejects.toThrow();
    expect(text).toHaveLength(16);
    expect(server.bill).toMatchObject([{ outcome: "failed", streamedTokens: 4, usage: { completionTokens: 4 } }]);
  });

  it("loses a whole answer that was not streamed; the work is billed", async () => {
    server.script([{ cutAfterChunks: 0 }]);
    await openai.chat.completions.create(call, { maxRetries: 1 });
    expect(server.bill).toMatchObject([
      { outcome: "failed", usage: { completionTokens: 10 } },
      { outcome: "completed", usage: { completionTokens: 10 } },
    ]);
    expect(server.requests[1]!.attempt).toBe(2);
  });
});

describe("the server", () => {
  it("shows a script's own mistake in the answer", async () => {
    server.script(() => {
      throw new Error("no such case");
    });
    await expect(openai.chat.completions.create(call)).rejects.toThrow("The script failed: Error: no such case");
  });

  it("records requests as received", async () => {
    await openai.chat.completions.create({ ...call, user: "ada" }, { headers: { "x-trace": "7" } });
    expect(server.requests).toMatchObject([
      { method: "POST", path: "/v1/chat/completions", body: { ...call, user: "ada" }, headers: { "x-trace": "7" } },
    ]);
  });

  it("ends open requests in the bill they began in", async () => {
    server.script({ hang: true });
    const controller = new AbortController();
    const answer = openai.chat.completions.create(call, { signal: controller.signal });
    await server.arrived(1);
    const before = server.bill;
    server.reset();
    controller.abort();
    await expect(answer).rejects.toBeInstanceOf(APIUserAbortError);
    await server.idle();
    expect(before).toHaveLength(1);
    expect(server.bill).toEqual([]);

    await openai.chat.completions.create(call);
    expect(server.requests[0]!.attempt).toBe(1);
  });

  it("is gone at the end of its block, with whatever was open", async () => {
    let answer: Promise<unknown>;
    {
      await using other = await startOpenAIServer({ reply: { hang: true } });
      answer = new OpenAI({ baseURL: other.url, apiKey: "any", maxRetries: 0 }).chat.completions.create(call);
      answer.catch(() => {});
      await other.arrived(1);
    }
    await expect(answer).rejects.toBeInstanceOf(APIConnectionError);
  });
});
