import {
  ConfigError,
  PolicyViolationError,
  type Authorization,
  type Labels,
  type PolicyEngine,
  type Rule,
} from "@driftlock/core";
import type { BaseCallbackHandler } from "@langchain/core/callbacks/base";
import type { ToolCall } from "@langchain/core/messages/tool";
import { ToolInputParsingException } from "@langchain/core/tools";
import { markFinal, telling } from "../refusals.js";
import type { AgentRun } from "./agent-run.js";
import { isCallLimit } from "./call-limit-rule.js";
import { isBubbleUp, isHandover, withHandler } from "./host.js";
import { isCost, type DriftlockMiddlewareOptions } from "./options.js";

interface Invokable {
  readonly name: string;
  invoke(input: unknown, config?: unknown): Promise<unknown>;
}

/** A call of a tool: what the policy is asked about each execution of it. */
export interface GovernedTool {
  readonly policy: PolicyEngine;
  /** Judges the models it calls. */
  readonly handler: BaseCallbackHandler;
  readonly run: AgentRun;
  readonly call: ToolCall;
  readonly labels: Labels;
  /** USD; `undefined` where the tool has none. */
  readonly costUsd: number | undefined;
  /** Limits on its calls. */
  readonly rules: readonly Rule[];
  readonly signal: AbortSignal | undefined;
}

/**
 * Executes a tool, as an operation where it has a cost or a limit. A tool that failed is charged: it may have been billed. One
 * that was never run, or that waits for a person and will run again, is not.
 */
export async function executeTool<T>(governed: GovernedTool, start: () => Promise<T>): Promise<T> {
  const { policy, handler, run, call, costUsd = 0, rules, signal } = governed;
  const execute = () => withHandler(handler, start);
  if (governed.costUsd === undefined && rules.length === 0) return run.inside(execute);
  const request = {
    operation: call.name,
    costUsd,
    endpoint: "tool",
    labels: governed.labels,
    ...(signal !== undefined && { signal }),
  };
  let auth: Authorization;
  try {
    auth = await run.inside(() => telling(policy.authorize(request)), rules);
  } catch (error) {
    const refusal = PolicyViolationError.find(error);
    // A retry of the tool may swallow the error.
    if (refusal !== undefined && !isCallLimit(refusal)) run.refuse(refusal);
    throw error;
  }
  let answer: T;
  try {
    answer = await run.inside(execute, [], { insideCall: costUsd > 0 });
  } catch (error) {
    if (isHandover(error)) await auth.settleQuietly(undefined);
    else if (isBubbleUp(error) || error instanceof ToolInputParsingException) await auth.release();
    else await auth.fail(error);
    throw error;
  }
  await auth.settleQuietly(undefined);
  return answer;
}

/**
 * Holds what LangGraph throws to leave a node: an interrupt in a subagent. LangChain's own retry of tools takes it for a failure,
 * runs the tool again and answers for it; here nothing runs again, and `rethrow` throws it once all of that is over.
 */
export class BubbleUps {
  #thrown: object | undefined;

  async pass<T>(execute: () => Promise<T>): Promise<T> {
    this.rethrow();
    try {
      return await execute();
    } catch (error) {
      if (isBubbleUp(error)) {
        markFinal(error);
        this.#thrown = error;
      }
      throw error;
    }
  }

  rethrow(): void {
    if (this.#thrown !== undefined) throw this.#thrown as Error;
  }
}

/** What `run` answers, unless `signal` is aborted first: what goes on then is no longer waited for. */
export async function untilAborted<T>(signal: AbortSignal | undefined, run: () => T | Promise<T>): Promise<T> {
  if (signal === undefined) return run();
  signal.throwIfAborted();
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    void Promise.resolve(run())
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", abort));
  });
}

/** The tool with every execution of it governed, also those that middleware between us and it repeats. */
export function governTool<Tool extends object>(
  tool: Tool,
  wrap: (execute: () => Promise<unknown>) => Promise<unknown>,
): Tool {
  const invoke = (input: unknown, config?: unknown) => wrap(() => (tool as unknown as Invokable).invoke(input, config));
  return Object.create(tool, { invoke: { value: invoke } }) as Tool;
}

/** @throws ConfigError when the application's function answers nonsense: a cost that is not known could pass every limit. */
export function costOfTool(costs: DriftlockMiddlewareOptions["toolCosts"], call: ToolCall): number | undefined {
  const cost =
    typeof costs === "function" ? costs(call) : costs && Object.hasOwn(costs, call.name) ? costs[call.name] : undefined;
  if (cost !== undefined && !isCost(cost))
    throw new ConfigError({
      field: `toolCosts.${call.name}`,
      value: cost,
      problem: "must be an amount in USD, 0 or more",
    });
  return cost;
}
