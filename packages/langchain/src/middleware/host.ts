import { createHash } from "node:crypto";
import type { BaseCallbackHandler } from "@langchain/core/callbacks/base";
import { registerConfigureHook, setContextVariable } from "@langchain/core/context";
import { AsyncLocalStorageProviderSingleton } from "@langchain/core/singletons";
import type { Metadata } from "../labels.js";

type Fields = Readonly<Record<string, unknown>>;

/** What a hook is given of the run around it. */
export interface HookRuntime {
  readonly configurable?: Fields | undefined;
  readonly interrupt?: ((value: unknown) => unknown) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The metadata of the node that runs: the caller's own, with what LangChain and LangGraph add. */
export function metadataHere(): Metadata {
  return AsyncLocalStorageProviderSingleton.getRunnableConfig()?.metadata ?? {};
}

/** Runs `run` with a callback handler on every model called in it, without a config to put it into. */
export function withHandler<T>(handler: BaseCallbackHandler, run: () => T): T {
  const storage = AsyncLocalStorageProviderSingleton.getInstance();
  // Of its own, so that the variable ends with it.
  return storage.run(storage.getStore(), () => {
    registerConfigureHook({ contextVar: handler.name, inheritable: true });
    setContextVariable(handler.name, handler);
    return run();
  });
}

/** Whether a run that has been left can be gone on with. */
export function hasCheckpointer({ configurable }: HookRuntime): boolean {
  return Boolean(configurable?.["__pregel_checkpointer"]);
}

/** Whether a run can wait for a person. */
export function canInterrupt(runtime: HookRuntime): boolean {
  return hasCheckpointer(runtime) && runtime.interrupt !== undefined;
}

/**
 * What all runs of an agent on a thread have in common. A subagent has the thread of the agent around it, so its place in the
 * graph and its name are part of it. `undefined` without a thread.
 */
export function threadKey({ configurable }: HookRuntime, name: string): string | undefined {
  const { thread_id: thread, checkpoint_ns: node = "" } = configurable ?? {};
  if (typeof thread !== "string" && typeof thread !== "number") return undefined;
  // "tools:<task>|DriftlockMiddleware.before_agent:<task>" → "tools"
  const place = String(node).split("|").slice(0, -1);
  const parts = [thread, place.map((part) => part.split(":")[0]), metadataHere()["lc_agent_name"] ?? "", name];
  const whole = JSON.stringify(parts);
  return whole.length <= 100 ? whole : createHash("sha256").update(whole).digest("hex");
}

/** A tool that hands over to a parent graph: it has run to its end, and does not run again. */
export function isHandover(error: unknown): boolean {
  return isBubbleUp(error) && "command" in error;
}

/** LangGraph's own way out of a node: an interrupt, a command to a parent. Never an error of a tool. */
export function isBubbleUp(error: unknown): error is object {
  return (error as { is_bubble_up?: unknown } | null | undefined)?.is_bubble_up === true;
}
