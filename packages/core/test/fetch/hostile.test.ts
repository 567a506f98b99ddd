import { describe, expect, it } from "vitest";
import { DriftlockError } from "../../src/errors/driftlock-error.js";
import { PolicyViolationError } from "../../src/errors/policy-violation-error.js";
import { governFetch } from "../../src/fetch/index.js";
import { SseReader } from "../../src/fetch/sse.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { failure } from "../engine/kit.js";
import { billedUsd, CLAUDE, FLAT, GPT, inPieces, messages, setUp, spend } from "./kit.js";

const call = { model: GPT, messages, max_tokens: 50 };
const post = { method: "POST", body: JSON.stringify(call) };
const downgrade = new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "gpt-4o-mini" });

describe("a maximum by a name that the protocol does not know binds nothing, and is not counted on", () => {
  it.each([
    ["chat/completions", { model: GPT, messages, max_output_tokens: 1 }],
    ["responses", { model: GPT, input: "Hi", max_tokens: 1 }],
    ["responses", { model: GPT, input: "Hi", max_completion_tokens: 1 }],
    ["messages", { model: CLAUDE, messages, max_completion_tokens: 1 }],
    ["messages", { model: CLAUDE, messages, max_output_tokens: 1 }],
  ])("%s %j", async (path, body) => {
    const { fetch, server, receipts } = await setUp({ server: { reply: { usage: { completionTokens: 3_000 } } } });
    const response = await fetch(`${server.url}/${path}`, { method: "POST", body: JSON.stringify(body) });
    await response.json();
    const [{ costUsd, heldUsd }] = receipts as [(typeof receipts)[0] & object];
    expect(costUsd).toBe(billedUsd(server.bill));
    expect(heldUsd).toBeGreaterThan(costUsd);
    const own =
      path === "messages" ? "max_tokens" : path === "responses" ? "max_output_tokens" : "max_completion_tokens";
    expect(server.requests[0]!.body).toMatchObject({ ...body, [own]: 4_096 });
  });
});

describe("an address is one whatever holds it", () => {
  const href = "https://localhost/v1/chat/completions";
  const addresses: Record<string, unknown> = {
    "a URL of another realm": { href, toString: () => href },
    "a String object": new String(href),
    "an address without an origin, for a fetch that has one": "/v1/chat/completions",
    "hex beside hex that is no UTF-8": "https://localhost/%ff/chat%2Fcompletions",
  };
  it.each(Object.entries(addresses))("%s", async (_, address) => {
    const { policy } = await setUp({ policy: { rules: [new MonthlyBudgetRule({ maxUsd: 0 })] } });
    let passed = 0;
    const fetch = governFetch(policy, { fetch: async () => (passed++, new Response("{}")) });
    expect((await fetch(address as string, post)).status).toBe(402);
    expect(passed).toBe(0);
  });
});

describe("a deployment in the path decides, however the path is written", () => {
  const sentTo = async (path: string, rules: readonly TagBasedModelDowngradeRule[] = []) => {
    const { policy } = await setUp({ policy: { rules } });
    const models: string[] = [];
    policy.on("call-reserved", ({ model }) => void models.push(model));
    let sent = "";
    const fetch = governFetch(policy, { fetch: async (address) => ((sent = address as string), Response.json({})) });
    await fetch(path, { method: "POST", body: JSON.stringify({ ...call, model: FLAT }) });
    return { models, sent };
  };

  it.each([
    "https://localhost/openai/deployments/gpt-4o//chat/completions",
    "https://localhost/openai/deployments//gpt-4o/chat/completions",
    "https://localhost/openai/deployments/gpt-4o/chat//completions//",
    "https://localhost/openai/deployments/gpt-4o/chat%2Fcompletions",
    "https://localhost/openai/%64eployments/gpt-4o/chat/completions",
    "/openai/deployments/gpt-4o/chat/completions",
  ])("%s", async (path) => {
    expect((await sentTo(path)).models).toEqual([GPT]);
    const { sent } = await sentTo(path, [downgrade]);
    expect(sent).toContain("/gpt-4o-mini/");
    expect(sent.startsWith("http")).toBe(path.startsWith("http"));
  });

  it("the version in Docker Model Runner's /engines/v1 is none", async () => {
    expect((await sentTo("http://localhost:12434/engines/v1/chat/completions")).models).toEqual([FLAT]);
    expect((await sentTo("http://localhost/engines/gpt-4o/chat/completions")).models).toEqual([GPT]);
  });
});

describe("members of init that are undefined, or no init at all, replace nothing", () => {
  it("the signal of a Request", async () => {
    const { server, fetch } = await setUp({ server: { reply: { hang: true } } });
    const controller = new AbortController();
    const request = new Request(`${server.url}/chat/completions`, { ...post, signal: controller.signal });
    const sent = fetch(request, { signal: undefined, method: undefined } as never);
    await Promise.race([server.arrived(1), sent]);
    controller.abort();
    expect(await failure(sent)).toMatchObject({ name: "AbortError" });
  });

  it("an init of null", async () => {
    const { server, fetch } = await setUp();
    expect((await fetch(new Request(`${server.url}/chat/completions`, post), null as never)).status).toBe(200);
  });
});

describe("what cannot be sent costs nothing", () => {
  it("headers or an address that fetch refuses", async () => {
    const { server, fetch, policy } = await setUp();
    const url = `${server.url}/chat/completions`;
    const wrong: [string, RequestInit][] = [
      [url, { ...post, headers: { "x-name": "a\nb" } }],
      [url, { ...post, headers: { "x-name": "☃" } }],
      [url.replace("//", "//ada:secret@"), post],
      ["/v1/chat/completions", post],
    ];
    for (const given of wrong) {
      expect(await failure(fetch(...given))).toBeInstanceOf(TypeError);
      expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
    }
    expect(server.requests).toEqual([]);
  });

  it("a body that is nested deeper than JSON can be written is refused", async () => {
    const { server, fetch, policy } = await setUp();
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    const body = `${post.body.slice(0, -1)},"metadata":${deep}}`;
    const response = await fetch(`${server.url}/chat/completions`, { method: "POST", body });
    expect(response.status).toBe(400);
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });
});

describe("the usage of a stream is found", () => {
  const usage = '"usage":{"prompt_tokens":5,"completion_tokens":40,"total_tokens":45}';
  const text = 'data: {"choices":[{"delta":{"content":"x"}}]}\n\n';
  it.each([
    ["after more white space", `data: \t {"choices":[],${usage}}\n\n`],
    [
      "beside a text and another usage that is null",
      `data: {"choices":[{"delta":{"content":"x"},"usage":null}],${usage}}\n\n`,
    ],
    ["in a chunk that ends with an error", `data: {"choices":[{"delta":{}}],"error":{"code":502},${usage}}\n\n`],
  ])("%s", async (_, last) => {
    const { policy, receipts } = await setUp();
    const fetch = governFetch(policy, { fetch: async () => inPieces([text, last]) });
    const body = JSON.stringify({ ...call, stream: true });
    await (await fetch("https://localhost/v1/chat/completions", { method: "POST", body })).text();
    expect(receipts).toMatchObject([{ costUsd: 0.045, estimated: false }]);
  });
});

describe("a record in a provider's own error", () => {
  const sound = {
    kinds: ["PolicyViolationError", "DriftlockError"],
    message: "No.",
    code: "POLICY_VIOLATION",
    ruleName: "R",
    status: 402,
    decision: { allow: false, action: "block", metadata: { a: 1 } },
  };
  const found = async (record: unknown) => {
    const { openai } = await setUp();
    const body = JSON.stringify({ error: { message: "m", driftlock: record } });
    const headers = { "content-type": "application/json" };
    const fake = openai.withOptions({ fetch: async () => new Response(body, { status: 400, headers }) });
    return PolicyViolationError.find(await failure(fake.chat.completions.create(call)));
  };

  it("is found where it is sound", async () => {
    expect(await found(sound)).toMatchObject({ ruleName: "R", httpStatus: 402, decision: sound.decision });
  });

  it.each([
    { message: {} },
    { code: 7 },
    { ruleName: [] },
    { status: 200 },
    { status: "402" },
    { retryAfterMs: "soon" },
    { retryAfterMs: -1 },
    { decision: null },
    { decision: { allow: true, action: null, metadata: {} } },
    { decision: { allow: false, action: "block" } },
  ])("is none where a program would stumble over it: %j", async (wrong) => {
    expect(await found({ ...sound, ...wrong })).toBeUndefined();
  });

  it("takes away nothing that every error has", async () => {
    const names = '"toString":1,"valueOf":1,"hasOwnProperty":1,"httpStatus":200,"__proto__":{"polluted":1}';
    const error = (await found(JSON.parse(`${JSON.stringify(sound).slice(0, -1)},${names}}`)))!;
    expect(String(error)).toBe("PolicyViolationError: No.");
    expect(error.httpStatus).toBe(402);
    expect(Object.hasOwn(error, "ruleName")).toBe(true);
    expect("polluted" in error).toBe(false);
  });

  it("without a decision has an empty one", async () => {
    const { decision: _, ...rest } = sound;
    expect((await found(rest))?.decision.metadata).toEqual({});
    expect(DriftlockError.find({ driftlock: { kinds: ["DriftlockError"] } })).toBeDefined();
  });
});

describe("a reader that cannot read", () => {
  it("does not settle the answer that another one reads", async () => {
    const { fetch, server, policy } = await setUp();
    const response = await fetch(`${server.url}/chat/completions`, post);
    const first = response.json();
    expect(await failure(response.text())).toBeInstanceOf(TypeError);
    await first;
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
  });

  it("of a body that was used up on its way here: the answer costs its bound", async () => {
    const { policy, receipts } = await setUp();
    const fetch = governFetch(policy, {
      fetch: async () => {
        const response = Response.json({ usage: { prompt_tokens: 1, completion_tokens: 1 } });
        await response.text();
        return response;
      },
    });
    await fetch("https://localhost/v1/chat/completions", post);
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
  });
});

it("an event of many lines is looked at once, when it ends", () => {
  const reader = new SseReader();
  const line = Buffer.from("data: 1,\n");
  const begin = performance.now();
  reader.read(Buffer.from("data: [\n"));
  for (let i = 0; i < 20_000; i++) reader.read(line);
  // Line by line, each time from the beginning, it took 20 s.
  expect(performance.now() - begin).toBeLessThan(2_000);
  expect(reader.read(Buffer.from('data: 1]\n\ndata: {"a":1}\n\n')).events).toEqual([{ a: 1 }]);
});

it.each([
  [['data: {"a":1}\n', "\n"]],
  [['data: {"a":1}\r\n', "\r", "\n"]],
  [['data: {"a":1}\r', "\n\r", "\n"]],
  [['data: {"a":1}', "\r\n\r", "\n"]],
  [["d", 'ata: {"a":1}', "\n", "\n"]],
])("an event ends with its empty line, wherever that is cut: %j", (pieces) => {
  const reader = new SseReader();
  const events = pieces.map((piece) => reader.read(Buffer.from(piece)).events.length);
  expect(events).toEqual([...pieces.slice(1).map(() => 0), 1]);
});
