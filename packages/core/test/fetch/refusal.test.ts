import Anthropic, { APIError as AnthropicError } from "@anthropic-ai/sdk";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import OpenAI, { APIConnectionError, APIError, APIUserAbortError } from "openai";
import { describe, expect, it } from "vitest";
import { withAmbient } from "../../src/ambient/ambient.js";
import { ConfigError } from "../../src/errors/config-error.js";
import { DriftlockError } from "../../src/errors/driftlock-error.js";
import {
  CircuitOpenError,
  PolicyViolationError,
  UnknownModelError,
  type ViolationDetails,
} from "../../src/errors/policy-violation-error.js";
import { StoreError } from "../../src/errors/store-error.js";
import { governFetch, type Fetch } from "../../src/fetch/index.js";
import { RuleDecision } from "../../src/policy/decision.js";
import type { Rule } from "../../src/policy/rule.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { VelocityLimitRule } from "../../src/policy/rules/velocity-limit.js";
import { ManualClock } from "../../src/testing/manual-clock.js";
import { FaultyLedger } from "../engine/faulty-ledger.js";
import { failure, pass } from "../engine/kit.js";
import { billedUsd, CLAUDE, FLAT, GPT, messages, setUp, spend, tick, type SetUp } from "./kit.js";

/** Clients that retry as they do when nobody tells them otherwise. */
async function setUpRetrying(options: SetUp = {}) {
  const sides = await setUp(options);
  const { server, policy, fetch } = sides;
  const attempts: string[] = [];
  policy.on("call-denied", ({ ruleName }) => void attempts.push(ruleName));
  let sent = 0;
  const counting: Fetch = (...call) => (sent++, fetch(...call));
  const given = { apiKey: "any", fetch: counting };
  return {
    ...sides,
    attempts,
    sent: () => sent,
    openai: new OpenAI({ baseURL: server.url, ...given }),
    anthropic: new Anthropic({ baseURL: server.origin, ...given }),
    chat: new ChatOpenAI({ model: GPT, apiKey: "any", configuration: { baseURL: server.url, fetch: counting } }),
    embedder: new OpenAIEmbeddings({
      apiKey: "any",
      model: GPT,
      configuration: { baseURL: server.url, fetch: counting },
    }),
  };
}

type Sides = Awaited<ReturnType<typeof setUpRetrying>>;
const call = { model: GPT, messages };

const ways: Record<string, (sides: Sides) => Promise<unknown>> = {
  "the openai SDK": ({ openai }) => openai.chat.completions.create(call),
  "its stream": ({ openai }) => openai.chat.completions.create({ ...call, stream: true }),
  "its runner": ({ openai }) => openai.chat.completions.stream(call).finalChatCompletion(),
  "its Responses": ({ openai }) => openai.responses.create({ model: GPT, input: "Hi" }),
  "its embeddings": ({ openai }) => openai.embeddings.create({ model: GPT, input: "Hi" }),
  "Anthropic's SDK": ({ anthropic }) => anthropic.messages.create({ ...call, max_tokens: 9 }),
  "its streamed messages": ({ anthropic }) => anthropic.messages.stream({ ...call, max_tokens: 9 }).finalMessage(),
  ChatOpenAI: ({ chat }) => chat.invoke("Hi"),
  "ChatOpenAI's stream": async ({ chat }) => {
    for await (const _chunk of await chat.stream("Hi"));
  },
  OpenAIEmbeddings: ({ embedder }) => embedder.embedQuery("Hi"),
};

describe("a refusal is one attempt, and found in the client's error", () => {
  it.each(Object.entries(ways))("through %s", async (_, way) => {
    const sides = await setUpRetrying({ policy: { rules: [new MonthlyBudgetRule({ maxUsd: 0 })] } });
    const error = await failure(way(sides));
    expect([sides.sent(), sides.attempts, sides.server.requests.length]).toEqual([1, ["MonthlyBudgetRule"], 0]);
    expect(error).toMatchObject({ status: 402 });
    expect((error as Error).message).toContain("Blocked by MonthlyBudgetRule: spentUsd 0");
    const found = PolicyViolationError.find(error)!;
    expect(found).toBeInstanceOf(PolicyViolationError);
    expect(found).toMatchObject({
      ruleName: "MonthlyBudgetRule",
      decision: { metadata: { maxUsd: 0 } },
      httpStatus: 402,
    });
    expect(await spend(sides.policy)).toEqual({ settled: 0, held: 0 });
  });

  it("with the provider's own shape of an error around it", async () => {
    const { openai, anthropic } = await setUpRetrying({ policy: { rules: [new MonthlyBudgetRule({ maxUsd: 0 })] } });
    const error = await failure(openai.chat.completions.create(call));
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ code: "POLICY_VIOLATION", type: "billing_error", param: null });
    const other = await failure(anthropic.messages.create({ ...call, max_tokens: 9 }));
    expect(other).toBeInstanceOf(AnthropicError);
    expect(other).toMatchObject({
      type: "billing_error",
      error: { type: "error", error: { code: "POLICY_VIOLATION" } },
    });
  });

  it("of its own class: an open breaker, a model without a price", async () => {
    const { openai } = await setUpRetrying({
      policy: { rules: [new VelocityLimitRule({ maxRequests: 0, windowSeconds: 60 })] },
    });
    const breaker = await failure(openai.chat.completions.create(call));
    expect(CircuitOpenError.find(breaker)).toMatchObject({ code: "CIRCUIT_OPEN", ruleName: "VelocityLimitRule" });
    expect(UnknownModelError.find(breaker)).toBeUndefined();
    const unknown = await failure(openai.chat.completions.create({ model: "nobody-7b", messages }));
    expect(UnknownModelError.find(unknown)).toMatchObject({ model: "nobody-7b" });
    expect((unknown as Error).message).toContain("prices: { overrides:");
  });

  it("the very error, with its cause, where the response came straight to the client", async () => {
    const mistake = new Error("the rule's own mistake");
    const rule: Rule = {
      name: "Broken",
      evaluate() {
        throw mistake;
      },
    };
    const { openai } = await setUpRetrying({ policy: { rules: [rule] } });
    expect(PolicyViolationError.find(await failure(openai.chat.completions.create(call)))?.cause).toBe(mistake);
  });

  it("as a copy with all its fields, where the response was made anew on the way", async () => {
    const sides = await setUp({ policy: { rules: [new VelocityLimitRule({ maxRequests: 0, windowSeconds: 60 })] } });
    const relayed: Fetch = async (...given) => {
      const response = await sides.fetch(...given);
      return new Response(await response.text(), { status: response.status, headers: [...response.headers] });
    };
    const openai = new OpenAI({ apiKey: "any", baseURL: sides.server.url, fetch: relayed });
    const anthropic = new Anthropic({ apiKey: "any", baseURL: sides.server.origin, fetch: relayed });
    for (const refused of [
      openai.chat.completions.create(call),
      anthropic.messages.create({ ...call, max_tokens: 9 }),
    ]) {
      const error = await failure(refused);
      const found = PolicyViolationError.find(error)!;
      expect(found).toBeInstanceOf(PolicyViolationError);
      expect(found).toMatchObject({
        name: "CircuitOpenError",
        code: "CIRCUIT_OPEN",
        ruleName: "VelocityLimitRule",
        status: 402,
        decision: { allow: false, action: "block", metadata: { maxRequests: 0, windowSeconds: 60 } },
      });
      expect(found.message).toContain("Blocked by VelocityLimitRule");
      expect(CircuitOpenError.isInstance(found)).toBe(true);
      expect(DriftlockError.find(error)).toMatchObject({ code: "CIRCUIT_OPEN" });
      expect(StoreError.find(error)).toBeUndefined();
    }
  });

  it("metadata that JSON cannot carry costs the copy that field only", async () => {
    const metadata = { self: 1n };
    const rule: Rule = { name: "Odd", evaluate: () => RuleDecision.block(metadata) };
    const { fetch, server } = await setUp({ policy: { rules: [rule] } });
    const response = await fetch(`${server.url}/chat/completions`, { method: "POST", body: JSON.stringify(call) });
    const copy = PolicyViolationError.find(await response.clone().json());
    expect(copy).toMatchObject({ ruleName: "Odd", status: 402 });
    expect(copy?.decision).toEqual({ allow: false, action: "block", metadata: {} });
    expect(PolicyViolationError.find(response)?.decision.metadata).toEqual(metadata);
  });

  it("nothing of ours is found in what is not ours", () => {
    const nothing = [
      { driftlock: null },
      { driftlock: { kinds: "PolicyViolationError" } },
      { driftlock: { kinds: [7] } },
      { headers: new Headers() },
    ];
    for (const error of [...nothing, ...nothing.map((error) => ({ error }))])
      expect(DriftlockError.find(error)).toBeUndefined();
    const record = JSON.parse(
      '{"kinds":["DriftlockError"],"__proto__":{"polluted":true},"name":"X","message":"m"}',
    ) as unknown;
    const found = DriftlockError.find({ driftlock: record })!;
    expect(found).toMatchObject({ name: "DriftlockError", message: "m" });
    expect(found).not.toHaveProperty("polluted");
  });
});

describe("a rule around the code refuses like the engine's own", () => {
  /** As a mission's: a class of its own, with fields of its own. */
  class RunEndedError extends PolicyViolationError {
    static override readonly kind: string = "RunEndedError";
    override readonly code = "RUN_ENDED";
    readonly runId = "run-7";
    readonly action: string;
    constructor(details: ViolationDetails, action: string) {
      super(details);
      this.action = action;
    }
  }

  it.each(["kill", "pause"])("with its own error, in one attempt: %s", async (action) => {
    const rule: Rule = {
      name: "Run",
      evaluate: () => RuleDecision.block({ action }),
      violation: (details) => new RunEndedError(details, action),
    };
    const sides = await setUpRetrying();
    for (const way of [ways["the openai SDK"]!, ways["Anthropic's SDK"]!, ways["ChatOpenAI"]!]) {
      const before = sides.sent();
      const error = await failure(withAmbient({ rules: [rule] }, () => way(sides)));
      expect(sides.sent() - before).toBe(1);
      expect(error).toMatchObject({ status: 402 });
      expect(RunEndedError.find(error)).toMatchObject({ code: "RUN_ENDED", runId: "run-7", action });
      expect(PolicyViolationError.find(error)).toBe(RunEndedError.find(error));
    }
    expect(sides.server.requests).toEqual([]);
    // The rule is gone with its block.
    expect(await sides.openai.chat.completions.create(call)).toMatchObject({ object: "chat.completion" });
  });
});

describe("whatever else stops a call is an answer, too, and not retried", () => {
  it("a store that fails: 402, because no money could be set aside", async () => {
    for (const way of [ways["the openai SDK"]!, ways["Anthropic's SDK"]!, ways["ChatOpenAI"]!]) {
      const clock = new ManualClock();
      const store = new FaultyLedger(clock);
      const sides = await setUpRetrying({ policy: { store, clock } });
      store.fail("reject", "reserve");
      const error = await failure(way(sides));
      expect([sides.sent(), sides.server.requests.length]).toEqual([1, 0]);
      expect(error).toMatchObject({ status: 402 });
      expect(StoreError.find(error)).toMatchObject({ operation: "reserve", code: "STORE_FAILED" });
      expect(PolicyViolationError.find(error)).toBeUndefined();
      // What the lost answer may have held is given back.
      store.heal();
      await pass(clock, 5_000, 500);
    }
  });

  it("a request that cannot be judged: 400, naming the field", async () => {
    const sides = await setUpRetrying();
    const error = await failure(sides.openai.chat.completions.create({ model: GPT } as never));
    expect(error).toMatchObject({
      status: 400,
      code: "INVALID_INPUT",
      type: "invalid_request_error",
      param: "messages",
    });
    expect(ConfigError.find(error)).toMatchObject({ field: "messages" });
    expect([sides.sent(), sides.server.requests.length]).toEqual([1, 0]);
  });

  it("a policy that was closed", async () => {
    const sides = await setUpRetrying();
    await sides.policy.close();
    const error = await failure(sides.openai.chat.completions.create(call));
    expect(error).toMatchObject({ status: 400, param: "policy" });
    expect(sides.sent()).toBe(1);
  });

  it("shows in its body no value that may be a secret", async () => {
    const { fetch, server } = await setUp({ fetch: { labels: () => ({ user_id: "s3cret".repeat(100) }) } });
    const response = await fetch(`${server.url}/chat/completions`, { method: "POST", body: JSON.stringify(call) });
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: { driftlock: object; param: string } };
    expect(error.param).toBe("labels.user_id");
    expect(error.driftlock).not.toHaveProperty("value");
  });
});

describe("each attempt of a client is a call of its own", () => {
  it("reserved, settled and counted: a failure of the provider is charged, a 4xx is not", async () => {
    const sides = await setUpRetrying();
    const reserved: string[] = [];
    sides.policy.on("call-reserved", ({ id }) => void reserved.push(id));
    sides.server.script([
      { status: 500, retryAfterMs: 1 },
      { status: 429, retryAfterMs: 1 },
    ]);
    await sides.openai.chat.completions.create({ ...call, max_tokens: 50 });
    expect(new Set(reserved).size).toBe(3);
    expect(sides.released).toEqual([reserved[1]]);
    expect(sides.receipts.map(({ id, estimated }) => [id, estimated])).toEqual([
      [reserved[0], true],
      [reserved[2], false],
    ]);
    // The 500 may have been billed: nobody can say, so it costs its bound.
    expect(sides.receipts[0]!.costUsd).toBe(sides.receipts[0]!.heldUsd);
    expect((await spend(sides.policy)).settled).toBeGreaterThan(billedUsd(sides.server.bill));
  });

  it("so that a rate counts every attempt, and the one beyond it ends the retries", async () => {
    const sides = await setUpRetrying({
      policy: { rules: [new VelocityLimitRule({ maxRequests: 2, windowSeconds: 60 })] },
    });
    sides.server.script(() => ({ status: 500, retryAfterMs: 1 }));
    const error = await failure(sides.openai.chat.completions.create(call, { maxRetries: 9 }));
    expect(CircuitOpenError.find(error)).toMatchObject({ ruleName: "VelocityLimitRule" });
    expect([sides.server.requests.length, sides.sent()]).toEqual([2, 3]);
  });

  it("and what the application knows to be unbilled is released", async () => {
    const isUnbilled = (error: unknown) => (error as { status?: number }).status === 503;
    const { openai, server, released, receipts } = await setUp({ policy: { isUnbilled } });
    server.script({ status: 503 });
    await failure(openai.chat.completions.create(call));
    expect([released.length, receipts.length]).toEqual([1, 0]);
  });
});

describe("a call that never reaches the provider", () => {
  it("costs nothing when no connection was made, and the client sees why", async () => {
    const { policy, openai, server, released } = await setUp();
    await server.close();
    const error = (await failure(openai.chat.completions.create(call))) as APIConnectionError;
    expect(error).toBeInstanceOf(APIConnectionError);
    expect((error.cause as Error).message).toBe("fetch failed");
    expect(released).toHaveLength(1);
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });

  it("costs its bound when nobody can say whether it was billed, and its error is the client's own", async () => {
    const { policy, receipts } = await setUp();
    const lost = new TypeError("terminated");
    const fetch = governFetch(policy, { fetch: () => Promise.reject(lost) });
    const request = { method: "POST", body: JSON.stringify({ ...call, max_tokens: 50 }) };
    expect(await failure(fetch("http://localhost/v1/chat/completions", request))).toBe(lost);
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
  });

  it("aborted while it waits for room: the abort is the client's, nothing is sent and nothing held", async () => {
    const sides = await setUp({ policy: { rules: [new MonthlyBudgetRule({ maxUsd: 0.1 })] } });
    const other = await sides.policy.authorize({ model: FLAT, inputTokens: 0, maxOutputTokens: 100 });
    const controller = new AbortController();
    const waiting = sides.openai.chat.completions.create(
      { model: FLAT, messages, max_tokens: 100 },
      { signal: controller.signal },
    );
    await tick();
    controller.abort();
    expect(await failure(waiting)).toBeInstanceOf(APIUserAbortError);
    expect(sides.server.requests).toEqual([]);
    await other.release();
    expect(await spend(sides.policy)).toEqual({ settled: 0, held: 0 });
  });

  it("aborted before it begins", async () => {
    const { fetch, server, policy } = await setUp();
    const signal = AbortSignal.abort(new Error("too late"));
    const request = { method: "POST", body: JSON.stringify(call), signal };
    expect(await failure(fetch(`${server.url}/chat/completions`, request))).toMatchObject({ message: "too late" });
    expect(server.requests).toEqual([]);
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });
});

it("messages to Claude under a budget are refused like any other", async () => {
  const { anthropic, server, policy } = await setUp({ policy: { rules: [new MonthlyBudgetRule({ maxUsd: 0.6 })] } });
  const ask = () => anthropic.messages.create({ model: CLAUDE, max_tokens: 300, messages });
  await ask();
  server.script({ usage: { completionTokens: 300 } });
  await ask();
  expect(PolicyViolationError.find(await failure(ask()))).toMatchObject({ ruleName: "MonthlyBudgetRule" });
  expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
});
