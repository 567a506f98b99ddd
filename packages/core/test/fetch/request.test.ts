import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { PolicyEngine } from "../../src/engine.js";
import { PolicyViolationError } from "../../src/errors/policy-violation-error.js";
import { governFetch } from "../../src/fetch/index.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { failure } from "../engine/kit.js";
import { billedUsd, GPT, messages, setUp, spend } from "./kit.js";

const call = { model: GPT, messages };
const text = JSON.stringify(call);
const swap = {
  policy: {
    rules: [
      new MonthlyBudgetRule({ maxUsd: 100 }),
      new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "gpt-4o-mini" }),
    ],
  },
};
const amended = { ...call, model: "gpt-4o-mini", max_completion_tokens: 4_096 };

describe("a request is governed however it is handed over", () => {
  const bytes = new TextEncoder().encode(text);
  const requests: Record<string, (url: string) => [string | URL | Request, RequestInit?]> = {
    "a text": (url) => [url, { method: "POST", body: text }],
    "a URL": (url) => [new URL(url), { method: "post", body: text }],
    bytes: (url) => [url, { method: "POST", body: bytes }],
    "an ArrayBuffer": (url) => [url, { method: "POST", body: bytes.buffer }],
    "a DataView": (url) => [url, { method: "POST", body: new DataView(bytes.buffer) }],
    "a Blob": (url) => [url, { method: "POST", body: new Blob([text]) }],
    "a stream": (url) => [url, { method: "POST", body: new Blob([text]).stream(), duplex: "half" }],
    "an async iterable": (url) => [url, { method: "POST", body: Readable.from([bytes]) as never, duplex: "half" }],
    "a Request": (url) => [new Request(url, { method: "POST", body: text, headers: { "x-trace": "7" } })],
    "a Request with a stream": (url) => [
      new Request(url, { method: "POST", body: new Blob([text]).stream(), duplex: "half" }),
    ],
    "a Request whose body init replaces": (url) => [new Request(url, { method: "POST", body: "{}" }), { body: text }],
    "a length told beforehand": (url) => [
      url,
      { method: "POST", body: text, headers: { "content-length": `${text.length}` } },
    ],
  };

  it.each(Object.entries(requests))("%s", async (_, request) => {
    const { server, policy, fetch } = await setUp(swap);
    const response = await fetch(...request(`${server.url}/chat/completions`));
    expect(await response.json()).toMatchObject({ model: "gpt-4o-mini-2024-07-18" });
    expect(server.requests.map(({ body }) => body)).toEqual([amended]);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
  });

  it("a Request keeps its headers and its signal", async () => {
    const { server, fetch } = await setUp({ server: { reply: { hang: true } } });
    const controller = new AbortController();
    const init = { method: "POST", body: text, headers: { authorization: "Bearer 7" }, signal: controller.signal };
    const sent = fetch(new Request(`${server.url}/chat/completions`, init));
    await server.arrived(1);
    expect(server.requests[0]!.headers).toMatchObject({ authorization: "Bearer 7" });
    controller.abort();
    expect(await failure(sent)).toMatchObject({ name: "AbortError" });
  });
});

describe("what was judged is what is sent", () => {
  it("a field that stands twice in the body is sent once", async () => {
    const { server } = await setUp();
    const body = `{"model":"o1-pro","model":"gpt-4o","max_tokens":100000,"max_tokens":10,"messages":${JSON.stringify(messages)}}`;
    const bodies: string[] = [];
    const watched = governFetch(new PolicyEngine({ rules: [], store: "memory" }), {
      fetch: (url, init) => (bodies.push(init!.body as string), globalThis.fetch(url, init)),
    });
    await watched(`${server.url}/chat/completions`, { method: "POST", body });
    expect(bodies).toEqual([JSON.stringify({ model: GPT, max_tokens: 10, messages })]);
  });

  it("a list of models to fall back to is refused, because any of them may answer", async () => {
    const { openai, server } = await setUp();
    const fallback = { ...call, models: ["openai/o1-pro", GPT] };
    expect(await failure(openai.chat.completions.create(fallback))).toMatchObject({ status: 400, param: "models" });
    await openai.chat.completions.create({ ...call, models: [GPT] } as typeof call);
    expect(server.requests).toHaveLength(1);
  });

  it("a body that cannot be judged is refused, not passed", async () => {
    const { server, fetch } = await setUp();
    const form = new FormData();
    form.set("model", GPT);
    const bodies = [
      "",
      "no JSON",
      "[]",
      "7",
      "null",
      form,
      new URLSearchParams({ model: GPT }),
      new Uint8Array([31, 139, 8]),
    ];
    for (const body of bodies) {
      const response = await fetch(`${server.url}/chat/completions`, { method: "POST", body });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { code: "INVALID_INPUT", param: "body" } });
    }
    expect((await fetch(`${server.url}/responses`, { method: "POST" })).status).toBe(400);
    expect(server.requests).toEqual([]);
  });

  it.each([{}, { model: "" }, { model: 7 }, { model: null }])("a body without a model, too: %j", async (fields) => {
    const { server, fetch } = await setUp();
    for (const path of ["chat/completions", "responses", "embeddings", "messages"]) {
      const body = JSON.stringify({ messages, input: "Hi", max_tokens: 5, ...fields });
      const response = await fetch(`${server.url}/${path}`, { method: "POST", body });
      expect(response.status).toBe(400);
      expect(PolicyViolationError.find(response)).toBeUndefined();
    }
    expect(server.requests).toEqual([]);
  });
});

describe("a model call is known by its path, however that is written", () => {
  const deny = async () => {
    const { policy } = await setUp({ policy: { rules: [new MonthlyBudgetRule({ maxUsd: 0 })] } });
    let passed = 0;
    const fetch = governFetch(policy, { fetch: async () => (passed++, new Response("{}")) });
    return { fetch, passed: () => passed };
  };

  it.each([
    "/v1/chat/completions",
    "/chat/completions/",
    "//v1//chat//completions",
    "/v1/chat/completion%73",
    "/v1/Chat/Completions?a=1#b",
    "/v1/x/../chat/completions",
    "/api/v1/responses",
    "/openai/deployments/gpt-4o/chat/completions?api-version=1",
    "/v1/embeddings",
    "/anthropic/v1/messages?beta=true",
  ])("%s", async (path) => {
    const { fetch, passed } = await deny();
    const body = JSON.stringify({ model: GPT, messages, input: "Hi", max_tokens: 5 });
    expect((await fetch(`https://localhost${path}`, { method: "POST", body })).status).toBe(402);
    expect(passed()).toBe(0);
  });

  it.each([
    ["GET", "/v1/models"],
    ["GET", "/v1/chat/completions"],
    ["GET", "/v1/responses/resp_1"],
    ["POST", "/v1/responses/resp_1/cancel"],
    ["POST", "/v1/threads/thread_1/messages"],
    ["POST", "/v1/messages/count_tokens"],
    ["POST", "/v1/files"],
    ["POST", "/v1/images/generations"],
  ])("%s %s is none: it passes as it is", async (method, path) => {
    const { fetch, passed } = await deny();
    expect((await fetch(`https://localhost${path}`, { method })).status).toBe(200);
    expect(passed()).toBe(1);
  });

  it("what is not known passes untouched, with the very body it has", async () => {
    const seen: unknown[] = [];
    const { policy } = await setUp();
    const fetch = governFetch(policy, { fetch: async (...given) => (seen.push(given), new Response("{}")) });
    const form = new FormData();
    const init = { method: "POST", body: form, headers: { a: "b" } };
    const request = new Request("https://localhost/v1/models");
    await fetch("https://localhost/v1/files", init);
    await fetch(request);
    expect(seen).toEqual([
      ["https://localhost/v1/files", init],
      [request, {}],
    ]);
    expect((seen[0] as [string, RequestInit])[1]).toBe(init);
    expect((seen[1] as [Request])[0]).toBe(request);
  });

  it('or is refused with onUnknownRequest: "deny"', async () => {
    const { openai, server } = await setUp({ fetch: { onUnknownRequest: "deny" } });
    for (const unknown of [openai.models.list(), openai.images.generate({ prompt: "a cat" })]) {
      const error = await failure(unknown);
      expect(error).toMatchObject({ status: 402 });
      expect(PolicyViolationError.find(error)).toMatchObject({ ruleName: "governFetch" });
    }
    expect(server.requests).toEqual([]);
    expect(await openai.chat.completions.create(call)).toMatchObject({ object: "chat.completion" });
  });
});
