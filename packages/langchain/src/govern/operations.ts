import { ConfigError } from "@driftlock/core";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { mergeConfigs, type Runnable, type RunnableConfig } from "@langchain/core/runnables";

type Fields = Readonly<Record<string, unknown>>;

/** What was asked of a governed model before it was called; done again on the model that a call really goes to. */
export interface Operation {
  readonly method: "bindTools" | "withStructuredOutput";
  readonly args: readonly unknown[];
}

/** The model with the operations done on it. */
export function replay(model: BaseChatModel, operations: readonly Operation[]): Runnable {
  let runnable: Runnable = model;
  for (const { method, args } of operations) {
    const operate = (runnable as unknown as Record<string, unknown>)[method];
    if (typeof operate !== "function") {
      throw new ConfigError({ field: "model", value: runnable.getName(), problem: `has no ${method}` });
    }
    runnable = operate.apply(runnable, args) as Runnable;
  }
  return runnable;
}

/** The model that sends the request, and what is bound to it. */
export interface Physical {
  readonly model: BaseChatModel;
  /** Call options that bindings add. */
  readonly bound: Fields;
  /** It stands behind no parser: what the runnable answers is the model's message. */
  readonly isBare: boolean;
}

/**
 * Looks into what `replay` made of `source`: bindings, and the first step of a structured output's sequence.
 * @throws ConfigError when no model is found there. A fake, which tells nothing of its requests, stands for itself.
 */
export function physicalOf(runnable: Runnable, source: BaseChatModel): Physical {
  let at = runnable as unknown;
  let bound: Fields = {};
  let isBare = true;
  for (let depth = 0; depth < 10; depth++) {
    if (isChatModel(at)) {
      const { defaultOptions } = at as { defaultOptions?: Fields };
      return { model: at, bound: { ...defaultOptions, ...bound }, isBare };
    }
    const { bound: inner, kwargs, config, steps } = (at ?? {}) as Fields;
    if (inner !== undefined) {
      bound = { ...mergeConfigs(config as RunnableConfig, kwargs as RunnableConfig), ...bound };
      at = inner;
    } else if (Array.isArray(steps)) [at, isBare] = [steps[0], false];
    // Structured output with `includeRaw`.
    else [at, isBare] = [(steps as { raw?: unknown } | undefined)?.raw, false];
  }
  if (isEmpty(source.invocationParams())) return { model: source, bound: {}, isBare: false };
  throw new ConfigError({
    field: "model",
    value: runnable.getName(),
    problem: "does not show which chat model it calls",
  });
}

function isEmpty(params: unknown): boolean {
  return Object.values((params ?? {}) as Fields).every((value) => value === undefined);
}

/** By its shape: the application may have another copy of `@langchain/core`. */
export function isChatModel(value: unknown): value is BaseChatModel {
  if (typeof value !== "object" || value === null) return false;
  const { _modelType, invoke } = value as Partial<BaseChatModel>;
  return (
    typeof invoke === "function" && typeof _modelType === "function" && _modelType.call(value) === "base_chat_model"
  );
}
