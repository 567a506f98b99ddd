import { ConfigError, type Authorization, type PolicyEngine } from "@driftlock/core";
import { BaseCallbackHandler, type HandleLLMNewTokenCallbackFields } from "@langchain/core/callbacks/base";
import type { Serialized } from "@langchain/core/load/serializable";
import type { BaseMessage } from "@langchain/core/messages";
import type { Generation, LLMResult } from "@langchain/core/outputs";
import { capturedRuns } from "./captured.js";
import { Group, type Admitted } from "./starts.js";
import { telling } from "./refusals.js";
import { isAbort } from "./translate/abort.js";
import { toldRequest, type ToldRequest } from "./translate/request.js";
import { textOfChunk, textOfEvent, type StreamEvent } from "./translate/streamed.js";
import { usageFromResult } from "./translate/usage.js";

export interface CaptureOptions {
  readonly policy: PolicyEngine;
  /** Already authorized. The capture closes it. */
  readonly auth: Authorization;
  /** Output is counted by who reads the stream (`auth.streamed`), not from LangChain's tokens. Default false. */
  readonly isRead?: boolean;
}

/**
 * Sees one authorized call as it goes out: refuses it unless it carries the model and the maximum that the policy granted,
 * and settles it at what it used. Attach it to the call, or to a model made for the call. A further attempt that the host
 * makes under it (retries) is authorized by itself before it is sent. What LangChain does not tell, `close` ends.
 */
export class Capture extends BaseCallbackHandler {
  readonly name = "DriftlockCapture";
  readonly #options: CaptureOptions;
  readonly #captured: Set<string>;
  /** Open physical calls by their run. */
  readonly #runs = new Map<string, { readonly group: Group; readonly admitted: Admitted }>();
  /** Every run that was heard of, those inside of a call too. */
  readonly #heard = new Set<string>();
  #wasSent = false;
  #wasAnswered = false;

  constructor(options: CaptureOptions) {
    super({ raiseError: true });
    this.#options = options;
    this.#captured = capturedRuns(options.policy);
  }

  /** LangChain told that the call goes out, and nothing was wrong with it. */
  get wasSent(): boolean {
    return this.#wasSent;
  }

  /** The model has answered, or begun to: what fails after it (a parser, a stream) is not tried again. */
  get wasAnswered(): boolean {
    return this.#wasAnswered;
  }

  override copy(): Capture {
    return this;
  }

  override async handleChatModelStart(
    llm: Serialized,
    _messages: BaseMessage[][],
    runId: string,
    parentRunId?: string,
    extraParams?: Record<string, unknown>,
  ): Promise<void> {
    await this.#start(runId, parentRunId, llm, extraParams);
  }

  override async handleLLMStart(
    llm: Serialized,
    _prompts: string[],
    runId: string,
    parentRunId?: string,
    extraParams?: Record<string, unknown>,
  ): Promise<void> {
    await this.#start(runId, parentRunId, llm, extraParams);
  }

  override handleLLMNewToken(
    token: string,
    _index: unknown,
    runId: string,
    _parentRunId?: string,
    _tags?: string[],
    fields?: HandleLLMNewTokenCallbackFields,
  ): void {
    this.#streamed(runId, textOfChunk(token, fields?.chunk));
  }

  override handleChatModelStreamEvent(event: StreamEvent, runId: string): void {
    this.#streamed(runId, textOfEvent(event));
  }

  override async handleLLMEnd(
    output: LLMResult,
    runId: string,
    _parentRunId?: string,
    _tags?: string[],
    extraParams?: Record<string, unknown>,
  ): Promise<void> {
    const auth = this.#end(runId);
    if (auth === undefined) return;
    this.#wasAnswered = true;
    // From LangChain's cache: nothing was sent.
    if (extraParams?.["cached"] === true) await auth.release();
    else await auth.settleQuietly(usageFromResult(output));
  }

  override async handleLLMError(
    error: unknown,
    runId: string,
    _parentRunId?: string,
    _tags?: string[],
    extraParams?: Record<string, unknown>,
  ): Promise<void> {
    const auth = this.#end(runId);
    if (auth === undefined) return;
    // The cache could not be read: nothing was sent.
    if (extraParams?.["cached"] === true) await auth.release();
    else await failed(auth, error);
  }

  /**
   * Ends what is still open when the call is over: released where nothing was sent, else charged what was streamed or the
   * bound. `error`: what the call ended with, if LangChain did not tell it. `answer`: the message, from a model that tells
   * callbacks nothing.
   */
  async close({ error, answer }: { error?: unknown; answer?: unknown } = {}): Promise<void> {
    const { auth } = this.#options;
    for (const runId of this.#runs.keys()) {
      const open = this.#end(runId)!;
      if (error === undefined) await open.settleQuietly(undefined);
      else await failed(open, error);
    }
    for (const runId of this.#heard) this.#captured.delete(runId);
    if (this.#wasSent) return;
    if (answer === undefined) await auth.release();
    else await auth.settleQuietly(usageFromResult({ generations: [[{ text: "", message: answer } as Generation]] }));
  }

  async #start(
    runId: string,
    parentRunId: string | undefined,
    llm: Serialized,
    extraParams: Record<string, unknown> | undefined,
  ): Promise<void> {
    // First and at once: a handler of the same policy looks for it.
    this.#captured.add(runId);
    if (this.#heard.has(runId)) return;
    this.#heard.add(runId);
    // A model that calls another one for its answer: one call.
    if (parentRunId !== undefined && this.#runs.has(parentRunId)) return;
    const { auth } = this.#options;
    const group = Group.of(extraParams);
    try {
      assertGranted(auth, toldRequest({ llm, extraParams }));
      const own = this.#wasSent ? await this.#again() : auth;
      this.#wasSent = true;
      this.#runs.set(runId, { group, admitted: group.admit(own, own.request.signal) });
      if (group.isRefused) await group.refuse();
    } catch (error) {
      await group.refuse();
      throw error;
    }
  }

  /** A further attempt, by itself: the host sends what it sent before. */
  async #again(): Promise<Authorization> {
    const { policy, auth } = this.#options;
    const { id: _, operation: _operation, costUsd: _costUsd, ...request } = auth.request;
    return telling(policy.authorize({ ...request, amendable: false }));
  }

  #streamed(runId: string, text: string): void {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    this.#wasAnswered = true;
    if (this.#options.isRead !== true) run.admitted.auth.streamed(text);
  }

  #end(runId: string): Authorization | undefined {
    const run = this.#runs.get(runId);
    this.#runs.delete(runId);
    this.#captured.delete(runId);
    run?.group.leave(run.admitted);
    return run?.admitted.auth;
  }
}

async function failed(auth: Authorization, error: unknown): Promise<void> {
  // Given up: charged its input and what came, even if nothing did.
  if (isAbort(error)) auth.streamed("");
  await auth.fail(error);
}

/**
 * Throws unless the request is the one that was granted. A model that tells nothing (a fake) was named by the application: it is
 * taken at its word.
 */
export function assertGranted(
  { request }: Authorization,
  { model, maxOutputTokens, choices = 1, isSilent }: ToldRequest,
): void {
  if (model !== undefined && model.toLowerCase() !== request.model.toLowerCase()) {
    const problem = `the policy let ${request.model} go, and the request would go to another model; it was not sent`;
    throw new ConfigError({ field: "model", value: model, problem });
  }
  const { n } = (request.params ?? {}) as { n?: unknown };
  const counted = typeof n === "number" ? n : 1;
  if (choices > counted) {
    const problem = `the policy let a call of ${counted} answers go, and the request would ask for more; it was not sent`;
    throw new ConfigError({ field: "n", value: choices, problem });
  }
  const granted = request.maxOutputTokens;
  if (granted === undefined || isSilent || (maxOutputTokens !== undefined && maxOutputTokens <= granted)) return;
  const problem = `the policy granted ${granted} output tokens, and the request would not carry that maximum; it was not sent`;
  throw new ConfigError({ field: "maxOutputTokens", value: maxOutputTokens, problem });
}
