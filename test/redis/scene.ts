import {
  BudgetRule,
  ConcurrencyLimitRule,
  MonthlyBudgetRule,
  PerUserBudgetRule,
  PolicyEngine,
  VelocityLimitRule,
  type PolicyEngineOptions,
} from "@driftlock/core";
import KeyvRedis, { Keyv, type RedisClusterOptions } from "@keyv/redis";
import { overrides } from "../pitfalls/kit.js";

const rules = {
  budget: BudgetRule,
  concurrency: ConcurrencyLimitRule,
  month: MonthlyBudgetRule,
  user: PerUserBudgetRule,
  velocity: VelocityLimitRule,
};

type Kind = keyof typeof rules;
export type RuleSpec = { [K in Kind]: readonly [K, ConstructorParameters<(typeof rules)[K]>[0]] }[Kind];

/** A policy as data: several processes build the same one from it. */
export interface Scene {
  readonly url: string | RedisClusterOptions;
  readonly namespace: string;
  readonly rules: readonly RuleSpec[];
  readonly options?: Omit<PolicyEngineOptions, "rules" | "store" | "namespace" | "clock">;
}

/** A policy on a connection of its own; the connection ends with the block. */
export interface Staged extends AsyncDisposable {
  readonly policy: PolicyEngine;
  readonly store: Keyv;
}

/** Builds a scene the way an application does. */
export function stage({ url, namespace, rules: specs, options }: Scene): Staged {
  const adapter = new KeyvRedis(url);
  const store = new Keyv(adapter);
  const policy = new PolicyEngine({
    rules: specs.map(([kind, given]) => new rules[kind](given as never)),
    prices: { overrides },
    ...options,
    namespace,
    store,
  });
  return { policy, store, [Symbol.asyncDispose]: () => adapter.disconnect(true) };
}

/** The namespace of one test: the server of the run is shared. */
export function freshNamespace(): string {
  return `test-${crypto.randomUUID()}`;
}

/** ms of a clock that all processes of the machine share. */
export function instant(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000;
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Where the first rule's limit stands for calls with these labels. */
export async function standing(policy: PolicyEngine, labels?: Record<string, string>) {
  const [row] = await policy.usage(labels === undefined ? {} : { labels });
  return { spentUsd: row!.spentUsd, heldUsd: row!.heldUsd };
}
