// Once in a process: without it a model called inside a RunnableLambda without a config gets no callbacks.
import "@langchain/core/context";
import { ConfigError, withLabels, type Labels, type PolicyEngine } from "@driftlock/core";
import { BaseCallbackHandler, type HandleLLMNewTokenCallbackFields } from "@langchain/core/callbacks/base";
import type { Serialized } from "@langchain/core/load/serializable";
import type { BaseMessage } from "@langchain/core/messages";
import type { LLMResult } from "@langchain/core/outputs";
import { labelsFromMetadata, withPicked, type Metadata } from "./labels.js";
import { Runs } from "./runs.js";
import { isAbort } from "./translate/abort.js";
import { openAIMessages } from "./translate/messages.js";
import { requestFrom, type HostCall } from "./translate/request.js";
import { textOfChunk, textOfEvent, type StreamEvent } from "./translate/streamed.js";
import { usageFromResult } from "./translate/usage.js";

export interface DriftlockCallbackHandlerOptions {
  /** Judges every model call of what the handler is attached to, and keeps its money. */
  policy: PolicyEngine;
  /** The model's name where LangChain does not tell it: fakes, Azure deployments. Default: none, such a call is refused. */
  model?: string | undefined;
  /** Labels of every call through this handler. Default: none. */
  labels?: Labels | undefined;
  /**
   * Picks a call's labels from the metadata of its run; they win over `labels`. Numbers and booleans become strings, other
   * values are left out, long ones hashed. Default: `user_id` (or `userId`), `thread_id`, `lc_agent_name`, `langgraph_node`,
   * and the labels that the policy's rules and its `track` name.
   */
  labelsFrom?: ((metadata: Metadata) => Readonly<Record<string, unknown>> | undefined) | undefined;
  /** Labels that metadata may not set, such as `user_id`: only `labels` and `withLabels` do. Default: none. */
  trustedLabels?: readonly string[] | undefined;
}

/**
 * Lets every model call of a LangChain chain, model or graph ask the policy before it is sent, and settles it at what it
 * used. A refusal reaches the caller as the policy's own error. A callback handler can refuse a call, not change it: a
 * downgrade is an error here, and the output is bounded only by a maximum set on the model.
 *
 * ```ts
 * const handler = new DriftlockCallbackHandler({ policy });
 * await chain.invoke(input, { callbacks: [handler], metadata: { user_id: "ada" } });
 * ```
 */
export class DriftlockCallbackHandler extends BaseCallbackHandler {
  readonly name = "DriftlockCallbackHandler";
  readonly #options: DriftlockCallbackHandlerOptions;
  readonly #labelsFrom: (metadata: Metadata) => unknown;
  readonly #trusted: ReadonlySet<string>;
  readonly #runs: Runs;

  /** @throws ConfigError naming the option and its value. */
  constructor(options: DriftlockCallbackHandlerOptions) {
    checkOptions(options);
    // Not as a class field: LangChain would then not wait for us, and send the call anyway.
    super({ raiseError: true });
    const { policy, labelsFrom, trustedLabels = [] } = options;
    const names = policy.labelNames;
    this.#options = options;
    this.#labelsFrom = labelsFrom ?? ((metadata) => labelsFromMetadata(metadata, names));
    this.#trusted = new Set(trustedLabels);
    this.#runs = Runs.of(policy);
  }

  override copy(): DriftlockCallbackHandler {
    return new DriftlockCallbackHandler(this.#options);
  }

  override async handleChatModelStart(
    llm: Serialized,
    messages: BaseMessage[][],
    runId: string,
    _parentRunId?: string,
    extraParams?: Record<string, unknown>,
    _tags?: string[],
    metadata?: Record<string, unknown>,
  ): Promise<void> {
    await this.#start(runId, metadata, { llm, extraParams, messages: openAIMessages(messages.flat()) });
  }

  override async handleLLMStart(
    llm: Serialized,
    prompts: string[],
    runId: string,
    _parentRunId?: string,
    extraParams?: Record<string, unknown>,
    _tags?: string[],
    metadata?: Record<string, unknown>,
  ): Promise<void> {
    const messages = prompts.map((content) => ({ role: "user", content }));
    await this.#start(runId, metadata, { llm, extraParams, messages });
  }

  override handleLLMNewToken(
    token: string,
    _index: unknown,
    runId: string,
    _parentRunId?: string,
    _tags?: string[],
    fields?: HandleLLMNewTokenCallbackFields,
  ): void {
    this.#runs.get(runId)?.auth?.streamed(textOfChunk(token, fields?.chunk));
  }

  override handleChatModelStreamEvent(event: StreamEvent, runId: string): void {
    this.#runs.get(runId)?.auth?.streamed(textOfEvent(event));
  }

  override async handleLLMEnd(
    output: LLMResult,
    runId: string,
    _parentRunId?: string,
    _tags?: string[],
    extraParams?: Record<string, unknown>,
  ): Promise<void> {
    const auth = this.#runs.close(runId)?.auth;
    // From LangChain's cache: nothing was sent.
    if (extraParams?.["cached"] === true) await auth?.release();
    else await auth?.settleQuietly(usageFromResult(output));
  }

  override async handleLLMError(
    error: unknown,
    runId: string,
    _parentRunId?: string,
    _tags?: string[],
    extraParams?: Record<string, unknown>,
  ): Promise<void> {
    const auth = this.#runs.close(runId)?.auth;
    if (auth === undefined) return;
    // The cache could not be read: nothing was sent.
    if (extraParams?.["cached"] === true) return auth.release();
    // Given up: charged its input and what came, even if nothing did.
    if (isAbort(error)) auth.streamed("");
    await auth.fail(error);
  }

  /** Asks the policy; throws its refusal, and the call is not sent. */
  async #start(runId: string, metadata: Metadata | undefined, host: HostCall): Promise<void> {
    const { policy, model } = this.#options;
    // The same call, told twice: LangChain before 1.2 does so when a handler is attached to a model and to its run.
    const run = this.#runs.open(runId, host.extraParams, metadata);
    if (run === undefined) return;
    try {
      const request = requestFrom(host, model);
      const auth = await policy.authorize({ ...request, id: runId, amendable: false, labels: this.#labels(metadata) });
      await this.#runs.admitted(run, auth, request.signal);
      if (request.maxOutputTokens === undefined) this.#runs.warnAssumed(auth);
    } catch (error) {
      await this.#runs.refused(run);
      throw error;
    }
  }

  #labels(metadata: Metadata = {}): Labels {
    return withPicked(this.#options.labels, this.#pick(metadata), this.#trusted, this.#options.policy.labelNames);
  }

  #pick(metadata: Metadata): unknown {
    try {
      const picked = this.#labelsFrom(metadata);
      if (typeof (picked as { then?: unknown } | undefined)?.then === "function")
        throw new TypeError("it answered a promise");
      return picked;
    } catch (cause) {
      // A call whose user is not known could pass that user's limits.
      throw new ConfigError({
        field: "labelsFrom",
        value: this.#labelsFrom,
        problem: "must answer at once, and not throw",
        cause,
      });
    }
  }
}

function checkOptions(options: unknown): asserts options is DriftlockCallbackHandlerOptions {
  const { policy, model, labels, labelsFrom, trustedLabels } = (options ?? {}) as Record<string, unknown>;
  const check = (field: string, value: unknown, isSound: boolean, problem: string) => {
    if (!isSound) throw new ConfigError({ field, value, problem });
  };
  const isPolicy = typeof (policy as PolicyEngine | undefined)?.authorize === "function";
  check("policy", policy, isPolicy, "must be a PolicyEngine");
  check("model", model, model === undefined || (typeof model === "string" && model !== ""), "must be a model's name");
  check("labelsFrom", labelsFrom, labelsFrom === undefined || typeof labelsFrom === "function", "must be a function");
  const isNames = Array.isArray(trustedLabels) && trustedLabels.every((name) => typeof name === "string");
  check("trustedLabels", trustedLabels, trustedLabels === undefined || isNames, "must be an array of label names");
  // Checks them as the policy will.
  if (labels !== undefined) withLabels(labels as Labels, () => undefined);
}
