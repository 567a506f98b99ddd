import { PolicyEngine, type PolicyEngineOptions, type Price, type Receipt } from "@driftlock/core";
import type { ManualClock } from "@driftlock/core/testing";
import {
  DriftlockCallbackHandler,
  govern,
  type DriftlockCallbackHandlerOptions,
  type GovernOptions,
} from "@driftlock/langchain";
import { startOpenAIServer, type BillEntry, type OpenAIServer } from "@driftlock/openai-server";
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { ChatOpenAI, type ChatOpenAIFields } from "@langchain/openai";
import { onTestFinished, vi } from "vitest";

/** The prompt is free and an output token costs $0.001: with `maxTokens: 100` a call's bound is $0.10, whatever is asked. */
const perOutputToken: Price = { inputUsdPerMTok: 0, outputUsdPerMTok: 1000 };

/** Both an input and an output token cost $0.001: nothing that reached the provider is free. */
export const perToken: Price = { inputUsdPerMTok: 1000, outputUsdPerMTok: 1000 };

/** Content-block events of a model's own stream, which older cores do not have. */
export const hasModelEvents = "_streamChatModelEvents" in BaseChatModel.prototype;

/** The entries of `ways` that this core has. */
export function known<T>(ways: Readonly<Record<string, T>>): string[] {
  return Object.keys(ways).filter((way) => hasModelEvents || !/streamEvents (of|without)/.test(way));
}

/** A local server, a policy over it, its handler and models that know both. Ends with the test. */
export async function setUp(
  options: PolicyEngineOptions,
  handlerOptions: Partial<DriftlockCallbackHandlerOptions> = {},
) {
  // LangChain writes every refusal to the console.
  const log = vi.spyOn(console, "error").mockImplementation(() => {});
  onTestFinished(() => log.mockRestore());
  const server = await startOpenAIServer({ reply: { usage: { completionTokens: 100 } } });
  onTestFinished(() => server.close());
  const policy = new PolicyEngine({ store: "memory", prices: { overrides: { "gpt-4o": perOutputToken } }, ...options });
  onTestFinished(() => policy.close());
  const receipts: Receipt[] = [];
  const released: string[] = [];
  policy.on("call-settled", ({ receipt }) => void receipts.push(receipt));
  policy.on("call-released", ({ id }) => void released.push(id));
  const handler = new DriftlockCallbackHandler({ policy, ...handlerOptions });
  const chat = (fields: ChatOpenAIFields = {}) => chatOn(server, { maxTokens: 100, callbacks: [handler], ...fields });
  /** The same model without the handler, governed. */
  const governed = (fields: ChatOpenAIFields = {}, more: Partial<GovernOptions> = {}) =>
    govern(chatOn(server, { maxTokens: 100, ...fields }), { policy, ...more });
  return { server, policy, handler, chat, governed, receipts, released };
}

export function chatOn(server: OpenAIServer, fields: ChatOpenAIFields = {}): ChatOpenAI {
  return new ChatOpenAI({
    model: "gpt-4o",
    apiKey: "any",
    maxRetries: 0,
    configuration: { baseURL: server.url },
    ...fields,
  });
}

/** What the server charges at a price. */
export function billedUsd(bill: readonly BillEntry[], price: Price = perOutputToken): number {
  const { inputUsdPerMTok: input, outputUsdPerMTok: output, cacheReadUsdPerMTok: cached = input } = price;
  const micro = bill.reduce((sum, { usage }) => {
    const { promptTokens, cachedTokens, completionTokens } = usage;
    return sum + (promptTokens - cachedTokens) * input + cachedTokens * cached + completionTokens * output;
  }, 0);
  return micro / 1_000_000;
}

/** Moves time on in steps small enough for every lease to be renewed in time. */
export async function pass(time: ManualClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 5_000) {
    time.advance(Math.min(5_000, left));
    await tick();
  }
}

/** Lets what is under way in this process go on. */
export function tick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** USD settled and held in the policy's first row. */
export async function spend(policy: PolicyEngine, labels: Record<string, string> = {}) {
  const [row] = await policy.usage({ labels });
  return { settled: row!.spentUsd, held: row!.heldUsd };
}

/** What `run` rejects with. */
export async function failure(run: Promise<unknown>): Promise<unknown> {
  return run.then(
    () => expectFailure(),
    (error: unknown) => error,
  );
}

function expectFailure(): never {
  throw new Error("It did not fail");
}

export async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of stream) all.push(one);
  return all;
}

/** LangChain waits a second and more between two attempts; for the rest of a test it does not. */
export function hurryRetries(): void {
  const wait = globalThis.setTimeout;
  // Node's own timers carry arguments.
  const hurry = (run: () => void, ms = 0, ...args: []) =>
    wait(run, args.length === 0 && ms >= 1_000 && ms <= 60_000 ? 1 : ms, ...args);
  const spy = vi.spyOn(globalThis, "setTimeout").mockImplementation(hurry as typeof setTimeout);
  onTestFinished(() => spy.mockRestore());
}
