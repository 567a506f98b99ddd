import { AsyncResource } from "node:async_hooks";
import { DriftlockError, withAmbient, type Authorization, type ModelRequest, type PolicyEngine } from "@driftlock/core";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { BaseMessage } from "@langchain/core/messages";
import type { Runnable, RunnableConfig } from "@langchain/core/runnables";
import { Capture } from "../capture.js";
import { Labeller, type LabelOptions } from "../labels.js";
import { telling } from "../refusals.js";
import { openAIMessages } from "../translate/messages.js";
import { requestFrom, toldRequest, type ToldRequest } from "../translate/request.js";
import { physicalOf, replay, type Operation, type Physical } from "./operations.js";
import { resolve } from "./resolve.js";
import { Targets, type Models } from "./targets.js";

type Fields = Readonly<Record<string, unknown>>;

/** Options of `govern`. */
export interface GovernOptions extends LabelOptions {
  /** Judges every call of the model, and keeps its money. */
  policy: PolicyEngine;
  /**
   * The models that the policy may downgrade to: by the name a rule gives, or a function from that name. Default: the same
   * model, made again with the other name.
   */
  models?: Models | undefined;
  /** The model's name where LangChain does not tell it: fakes, Azure deployments. Default: none, such a call is refused. */
  model?: string | undefined;
}

/** A call as it was asked for. */
export interface Plan {
  readonly config: RunnableConfig;
  readonly source: BaseChatModel;
  readonly operations: readonly Operation[];
  readonly request: ModelRequest;
  /** Attempts after the first. */
  readonly maxRetries: number;
  /** LangChain is told nothing of what the model sends, so nothing could be changed or checked. */
  readonly isSilent: boolean;
}

/** One authorized attempt, and what sends it. */
export interface Attempt {
  readonly auth: Authorization;
  readonly runnable: Runnable;
  readonly physical: Physical;
  readonly capture: Capture;
  /** The call's own, with the capture listening. */
  readonly config: RunnableConfig;
  /** The reader counts the output, chunk by chunk. */
  readonly isRead: boolean;
}

/** Judges and accounts the calls of a governed model and of all that is bound from it. */
export class Governor {
  readonly policy: PolicyEngine;
  readonly #name: string | undefined;
  readonly #labeller: Labeller;
  readonly #targets: Targets;
  readonly #serialized = new WeakMap<BaseChatModel, unknown>();
  readonly #replayed = new WeakMap<readonly Operation[], WeakMap<BaseChatModel, Runnable>>();

  constructor(options: GovernOptions) {
    this.policy = options.policy;
    this.#name = options.model;
    this.#labeller = new Labeller(options, options.policy);
    this.#targets = new Targets(options.models);
  }

  /** What a call would send, as far as it can be known before. */
  async plan(
    model: BaseChatModel,
    operations: readonly Operation[],
    messages: readonly BaseMessage[],
    config: RunnableConfig,
  ): Promise<Plan> {
    const source = await resolve(model, config);
    const { model: physical, bound } = physicalOf(this.replay(source, operations), source);
    const options: Fields = { ...bound, ...config };
    const extraParams = { invocation_params: physical.invocationParams(options as never) as Fields, options };
    const host = { llm: this.#serialize(physical), extraParams, messages: openAIMessages(messages) };
    const { signal: _, ...asked } = requestFrom(host, this.#name);
    const labels = this.#labeller.labelsOf(metadataOf(config, source));
    const request = {
      ...asked,
      labels,
      ...(config.signal !== undefined && { signal: config.signal }),
      ...(hasFixedShape(operations, options) && { clamp: false }),
    };
    const retries = retriesAsked(options);
    return {
      config: retries === undefined ? config : withoutRetries(config, options),
      source,
      operations,
      request,
      maxRetries: retries ?? retriesOf(source),
      isSilent: toldRequest(host).isSilent,
    };
  }

  /**
   * Makes attempts as often as the model itself would, and each one known: the model that is called does not retry.
   * @param make Resolves with the attempt's result. Throws what may be tried again.
   */
  async attempts<T>(
    { source, maxRetries, config: { signal } }: Plan,
    make: (attempt: number) => Promise<T>,
  ): Promise<T> {
    const { caller } = source;
    let count = 0;
    // What is final must not look like a failure to LangChain's retries: they know no refusal.
    const once = async () => {
      try {
        return { value: await make(count++) };
      } catch (error) {
        if (error instanceof Final) return { error: error.cause };
        if (DriftlockError.isInstance(error)) return { error };
        throw error;
      }
    };
    const options = { maxRetries, ...(signal !== undefined && { signal }) };
    // LangChain's queue (`maxConcurrency`) starts a call in the async context of the one that ended before it: bound, so that
    // labels and missions are the call's own.
    const result = maxRetries === 0 ? await once() : await caller.callWithOptions(options, AsyncResource.bind(once));
    if ("value" in result) return result.value as T;
    throw result.error;
  }

  /**
   * Asks the policy, and finds the model that carries what it granted.
   * @param count Attempts before this one.
   * @param isStreamed The answer is read chunk by chunk.
   */
  async attempt(plan: Plan, count: number, isStreamed = false): Promise<Attempt> {
    const { policy } = this;
    const auth = await telling(policy.authorize(plan.request));
    try {
      const target = await this.#target(plan, auth);
      const runnable = this.replay(target, plan.operations);
      const physical = physicalOf(runnable, target);
      const isRead = isStreamed && physical.isBare;
      const capture = new Capture({ policy, auth, isRead });
      // A run's id is the first attempt's: another attempt is another run.
      const config = count === 0 ? plan.config : { ...plan.config, runId: undefined };
      return { auth, runnable, physical, capture, isRead, config: withCapture(config as RunnableConfig, capture) };
    } catch (error) {
      await auth.release();
      throw error;
    }
  }

  replay(model: BaseChatModel, operations: readonly Operation[]): Runnable {
    if (operations.length === 0) return model;
    let made = this.#replayed.get(operations);
    if (made === undefined) this.#replayed.set(operations, (made = new WeakMap()));
    let runnable = made.get(model);
    if (runnable === undefined) made.set(model, (runnable = replay(model, operations)));
    return runnable;
  }

  async #target(
    { source, request, config, isSilent }: Plan,
    { request: granted }: Authorization,
  ): Promise<BaseChatModel> {
    const isSwapped = granted.model !== request.model;
    const named = isSwapped ? await this.#targets.named(granted.model) : source;
    const target = named && (await resolve(named, config));
    const { maxOutputTokens } = granted;
    if (target === undefined) return this.#targets.with(source, { model: granted.model, maxOutputTokens });
    const isSame = !isSwapped && maxOutputTokens === request.maxOutputTokens && retriesOf(target) === 0;
    if (isSame || (isSwapped ? this.told(target, {}).isSilent : isSilent)) return target;
    return this.#targets.with(target, { maxOutputTokens });
  }

  /** What a model tells of the request it would send with these call options. */
  told(model: BaseChatModel, options: Fields): ToldRequest {
    const extraParams = { invocation_params: model.invocationParams(options as never) as Fields };
    return toldRequest({ llm: this.#serialize(model), extraParams });
  }

  /** How the model describes itself; slow, and the same for every call. */
  #serialize(model: BaseChatModel): unknown {
    let serialized = this.#serialized.get(model);
    if (serialized === undefined) this.#serialized.set(model, (serialized = model.toJSON()));
    return serialized;
  }
}

/** An error after which there is no other attempt: the model had answered, or begun to. */
export class Final extends Error {
  constructor(cause: unknown) {
    super("final", { cause });
  }
}

/** Runs what sends a call: calls made inside of it do not wait for it. */
export function inside<T>(send: () => Promise<T>): Promise<T> {
  return withAmbient({ insideCall: true }, send);
}

function withCapture(config: RunnableConfig, capture: Capture): RunnableConfig {
  const { callbacks } = config;
  if (callbacks === undefined) return { ...config, callbacks: [capture] };
  return { ...config, callbacks: Array.isArray(callbacks) ? [...callbacks, capture] : callbacks.copy([capture]) };
}

/** Of the run, as a callback would be told it: inherited, given, the model's own. */
function metadataOf({ callbacks, metadata }: RunnableConfig, model: BaseChatModel): Fields {
  const inherited = Array.isArray(callbacks) ? undefined : callbacks?.metadata;
  return { ...inherited, ...metadata, ...model.metadata };
}

/** Structured output and forced tools are useless when cut short, however the provider spells them. */
function hasFixedShape(operations: readonly Operation[], options: Fields): boolean {
  const choice = options["tool_choice"] ?? "auto";
  return (
    operations.some(({ method }) => method === "withStructuredOutput") ||
    options["response_format"] !== undefined ||
    (choice !== "auto" && choice !== "none")
  );
}

/** Attempts after the first that the call's own options ask for. The provider's SDK is given the inner ones. */
function retriesAsked(options: Fields): number | undefined {
  const inner = (options["options"] as Fields | undefined)?.["maxRetries"];
  const asked = [inner, options["maxRetries"]].find((retries) => retries !== undefined && retries !== null);
  return typeof asked === "number" ? asked : undefined;
}

/** Whoever sends the call makes one attempt, whatever its options or its bindings say. */
function withoutRetries(config: RunnableConfig, options: Fields): RunnableConfig {
  const { options: inner } = options as { options?: Fields };
  const one = { maxRetries: 0 };
  return { ...config, ...one, ...(inner !== undefined && { options: { ...inner, ...one } }) };
}

/** LangChain's default is 6. */
function retriesOf({ caller }: BaseChatModel): number {
  return (caller as unknown as { maxRetries?: number }).maxRetries ?? 6;
}
