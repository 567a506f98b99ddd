import { MonthlyBudgetRule, PolicyEngine, RuleDecision, type Rule } from "@driftlock/core";
import { DriftlockCallbackHandler, govern } from "@driftlock/langchain";
import { driftlockMiddleware } from "@driftlock/langchain/middleware";
import { Missions } from "@driftlock/missions";
import type { OpenAIServer } from "@driftlock/openai-server";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { RunnableConfig } from "@langchain/core/runnables";
import type { AnyAgentMiddleware } from "langchain";
import { chatOn } from "../harness.js";

/** What a host is built from, governed in one of the ways. */
export interface Parts {
  readonly model: () => BaseChatModel;
  /** Goes first in every agent. */
  readonly middleware: () => AnyAgentMiddleware[];
  /** Of the run. */
  readonly config: RunnableConfig;
}

/** One way to govern: runs a host, built from its parts, with room for one call of $0.10. */
export type Way = (
  server: OpenAIServer,
  policy: PolicyEngine,
  host: (parts: Parts) => Promise<unknown>,
) => Promise<unknown>;

const none = () => [];

/** The columns of the matrix. */
export const ways = {
  handler: (server, policy, host) =>
    host({
      model: () => chatOn(server, { maxTokens: 100 }),
      middleware: none,
      config: { callbacks: [new DriftlockCallbackHandler({ policy })] },
    }),
  govern: (server, policy, host) => host({ model: () => governed(server, policy), middleware: none, config: {} }),
  middleware: (server, policy, host) =>
    host({
      model: () => chatOn(server, { maxTokens: 100 }),
      middleware: () => [driftlockMiddleware({ policy })],
      config: {},
    }),
  "mission (signal)": (server, policy, host) =>
    new Missions({ policy }).run({ name: "matrix", budgetUsd: 0.1 }, ({ signal }) =>
      host({ model: () => governed(server, policy), middleware: none, config: { signal } }),
    ),
} satisfies Record<string, Way>;

/** What stops a host after its first call. */
export type Stop = "a used-up budget" | "one refused call";

/** The month, or where there is one the mission, holds one call; or the second call alone is refused. */
export function policyOf(way: keyof typeof ways, stop: Stop, server: OpenAIServer): PolicyEngine {
  let isOver = false;
  const second: Rule = {
    name: "SecondCall",
    evaluate: () => (server.requests.length === 1 && !isOver ? RuleDecision.block() : RuleDecision.allow()),
  };
  const isBudget = stop === "a used-up budget" && way !== "mission (signal)";
  const policy = new PolicyEngine({
    rules: [stop === "one refused call" ? second : new MonthlyBudgetRule({ maxUsd: isBudget ? 0.1 : 100 })],
    store: "memory",
    prices: { overrides: { "gpt-4o": { inputUsdPerMTok: 0, outputUsdPerMTok: 1000 } } },
  });
  policy.on("call-denied", () => void (isOver = true));
  return policy;
}

function governed(server: OpenAIServer, policy: PolicyEngine): BaseChatModel {
  return govern(chatOn(server, { maxTokens: 100 }), { policy }) as unknown as BaseChatModel;
}
