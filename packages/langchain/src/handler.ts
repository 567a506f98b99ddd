// Once in a process: without it a model called inside a RunnableLambda without a config gets no callbacks.
import "@langchain/core/context";
import type { PolicyEngine } from "@driftlock/core";
import { BaseCallbackHandler, type HandleLLMNewTokenCallbackFields } from "@langchain/core/callbacks/base";
import type { Serialized } from "@langchain/core/load/serializable";
import type { BaseMessage } from "@langchain/core/messages";
import type { LLMResult } from "@langchain/core/outputs";
import { capturedRuns } from "./captured.js";
import { checkModelName, checkPolicy } from "./check.js";
import { Labeller, type LabelOptions, type Metadata } from "./labels.js";
import { telling } from "./refusals.js";
import { Runs } from "./runs.js";
import { isAbort } from "./translate/abort.js";
import { openAIMessages } from "./translate/messages.js";
import { requestFrom, type HostCall } from "./translate/request.js";
import { textOfChunk, textOfEvent, type StreamEvent } from "./translate/streamed.js";
import { usageFromResult } from "./translate/usage.js";

export interface DriftlockCallbackHandlerOptions extends LabelOptions {
  /** Judges every model call of what the handler is attached to, and keeps its money. */
  policy: PolicyEngine;
  /** The model's name where LangChain does not tell it: fakes, Azure deployments. Default: none, such a call is refused. */
  model?: string | undefined;
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
  readonly #labeller: Labeller;
  readonly #runs: Runs;
  readonly #captured: ReadonlySet<string>;

  /** @throws ConfigError naming the option and its value. */
  constructor(options: DriftlockCallbackHandlerOptions) {
    checkOptions(options);
    // Not as a class field: LangChain would then not wait for us, and send the call anyway.
    super({ raiseError: true });
    const { policy } = options;
    this.#options = options;
    this.#labeller = new Labeller(options, policy);
    this.#runs = Runs.of(policy);
    this.#captured = capturedRuns(policy);
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
    this.#runs.get(runId)?.admitted?.auth.streamed(textOfChunk(token, fields?.chunk));
  }

  override handleChatModelStreamEvent(event: StreamEvent, runId: string): void {
    this.#runs.get(runId)?.admitted?.auth.streamed(textOfEvent(event));
  }

  override async handleLLMEnd(
    output: LLMResult,
    runId: string,
    _parentRunId?: string,
    _tags?: string[],
    extraParams?: Record<string, unknown>,
  ): Promise<void> {
    const auth = this.#runs.close(runId)?.admitted?.auth;
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
    const auth = this.#runs.close(runId)?.admitted?.auth;
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
    // `govern` or the middleware meters it: they say so in this very turn, before or after us.
    await Promise.resolve();
    if (this.#captured.has(runId)) return void this.#runs.close(runId);
    try {
      const request = requestFrom(host, model);
      const auth = await telling(
        policy.authorize({ ...request, id: runId, amendable: false, labels: this.#labeller.labelsOf(metadata) }),
      );
      await this.#runs.admitted(run, auth, request.signal);
      if (request.maxOutputTokens === undefined) this.#runs.warnAssumed(auth);
    } catch (error) {
      await this.#runs.refused(run);
      throw error;
    }
  }
}

function checkOptions(options: unknown): asserts options is DriftlockCallbackHandlerOptions {
  const { policy, model } = (options ?? {}) as Record<string, unknown>;
  checkPolicy(policy);
  checkModelName(model);
}
