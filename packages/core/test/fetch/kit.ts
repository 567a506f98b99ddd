import Anthropic from "@anthropic-ai/sdk";
import { startOpenAIServer, type BillEntry, type OpenAIServerOptions } from "@driftlock/openai-server";
import OpenAI from "openai";
import { onTestFinished } from "vitest";
import type { Receipt } from "../../src/domain/receipt.js";
import { PolicyEngine } from "../../src/engine.js";
import { governFetch, type Fetch, type GovernFetchOptions } from "../../src/fetch/index.js";
import type { PolicyEngineOptions } from "../../src/options.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";

/** $0.001 a token, in and out; a tenth of it from the cache, 1.25 times it into the cache. */
const perToken = {
  inputUsdPerMTok: 1_000,
  outputUsdPerMTok: 1_000,
  cacheReadUsdPerMTok: 100,
  cacheWriteUsdPerMTok: 1_250,
};
/** The prompt is free and an output token costs $0.001: a maximum of 100 bounds a call at $0.10, whatever is asked. */
const perOutputToken = { inputUsdPerMTok: 0, outputUsdPerMTok: 1_000 };

export const GPT = "gpt-4o";
export const CLAUDE = "claude-haiku-4-5";
/** Bounded by its output alone. */
export const FLAT = "flat";
export const messages = [{ role: "user" as const, content: "How are you?" }];

/** Much room: what the calls cost is looked at, not whether they pass. */
const wide = () => new BudgetRule({ maxUsd: 1_000, per: "lifetime" });

export interface SetUp {
  readonly policy?: Partial<PolicyEngineOptions>;
  readonly fetch?: GovernFetchOptions;
  readonly server?: OpenAIServerOptions;
}

/** A local provider that keeps its own bill, a policy, and clients whose `fetch` it governs. Ends with the test. */
export async function setUp(options: SetUp = {}) {
  const server = await startOpenAIServer(options.server);
  onTestFinished(() => server.close());
  const overrides = {
    [GPT]: perToken,
    "gpt-4o-mini": perToken,
    "gpt-5-mini": perToken,
    "text-embedding-3-small": perToken,
    [CLAUDE]: perToken,
    [FLAT]: perOutputToken,
  };
  const policy = new PolicyEngine({ rules: [wide()], store: "memory", prices: { overrides }, ...options.policy });
  onTestFinished(() => policy.close());
  const receipts: Receipt[] = [];
  const released: string[] = [];
  policy.on("call-settled", ({ receipt }) => void receipts.push(receipt));
  policy.on("call-released", ({ id }) => void released.push(id));
  const fetch = governFetch(policy, options.fetch);
  return { server, policy, receipts, released, fetch, ...clients(server, fetch) };
}

/** Clients of a server; without a `fetch` those that nobody governs. */
export function clients({ url, origin }: { url: string; origin: string }, fetch?: Fetch) {
  const given = { apiKey: "any", maxRetries: 0, ...(fetch && { fetch }) };
  return {
    openai: new OpenAI({ baseURL: url, ...given }),
    anthropic: new Anthropic({ baseURL: origin, ...given }),
  };
}

/** What the server charges, in USD: at a provider's own cost where it told one, else at the prices above. */
export function billedUsd(bill: readonly BillEntry[]): number {
  let nano = 0;
  for (const { usage, model } of bill) {
    const { promptTokens, completionTokens, cachedTokens, cacheWriteTokens = 0, costUsd } = usage;
    const fresh = promptTokens - cachedTokens - cacheWriteTokens;
    const prompt = model === FLAT ? 0 : fresh * 1_000_000 + cachedTokens * 100_000 + cacheWriteTokens * 1_250_000;
    nano += costUsd === undefined ? prompt + completionTokens * 1_000_000 : Math.round(costUsd * 1e9);
  }
  return nano / 1e9;
}

/** USD settled and held by everybody. */
export async function spend(policy: PolicyEngine, labels: Record<string, string> = {}) {
  const [row] = await policy.usage({ labels });
  return { settled: row!.spentUsd, held: row!.heldUsd };
}

export async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of stream) all.push(one);
  return all;
}

/** Lets what is under way in this process go on. */
export async function tick(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** A response whose body comes in these pieces, one a read. */
export function inPieces(pieces: readonly (string | Uint8Array)[], init: ResponseInit = {}): Response {
  const bytes = pieces.map((piece) => new Uint8Array(Buffer.from(piece as string)));
  let next = 0;
  const body = new ReadableStream<Uint8Array>(
    { pull: (controller) => (next < bytes.length ? controller.enqueue(bytes[next++]!) : controller.close()) },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { "content-type": "text/event-stream" }, ...init });
}
