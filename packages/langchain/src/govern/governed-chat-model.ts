import type { PolicyEngine } from "@driftlock/core";
import type { BaseLanguageModelInput } from "@langchain/core/language_models/base";
import {
  BaseChatModel,
  type BaseChatModelCallOptions,
  type BindToolsInput,
} from "@langchain/core/language_models/chat_models";
import {
  type AIMessageChunk,
  coerceMessageLikeToMessage,
  type BaseMessage,
  type BaseMessageLike,
} from "@langchain/core/messages";
import type { ChatResult, LLMResult } from "@langchain/core/outputs";
import { ensureConfig, mergeConfigs, type RunnableConfig } from "@langchain/core/runnables";
import { IterableReadableStream } from "@langchain/core/utils/stream";
import { meterEvents } from "./events.js";
import { Final, inside, type Attempt, type Governor, type Plan } from "./governor.js";
import type { Operation } from "./operations.js";
import { rebuild, type Changes } from "./rebuild.js";
import { isConfigurable } from "./resolve.js";
import { GovernedStream } from "./stream.js";

/** Where the run's config stays, which LangChain takes out of the call options. */
const runConfig = Symbol("driftlock.config");

interface Parts {
  readonly source: BaseChatModel;
  readonly governor: Governor;
  readonly operations: readonly Operation[];
  /** Of `withConfig`. */
  readonly config: RunnableConfig | undefined;
}

/**
 * A chat model whose every attempt asks a policy before it is sent and is settled at what it used. Made by `govern`. Calls, tools,
 * structured output, streaming and events are those of the model it was made from; a run of that model is what tracers see.
 */
export class GovernedChatModel<
  CallOptions extends BaseChatModelCallOptions = BaseChatModelCallOptions,
> extends BaseChatModel<CallOptions> {
  /** Absent where the model has none, because hosts look for it. */
  override bindTools?(tools: BindToolsInput[], kwargs?: Partial<CallOptions>): GovernedChatModel<CallOptions>;
  readonly #parts: Parts;

  /** @internal */
  constructor(parts: Parts) {
    super({});
    this.#parts = parts;
    const { source } = parts;
    this.disableStreaming = source.disableStreaming;
    this.caller = source.caller;
    if (typeof source.bindTools === "function") {
      this.bindTools = (...args) => this.#with({ method: "bindTools", args });
    }
    // Not as a method: LangChain's own signatures say what it answers.
    this.withStructuredOutput = (...args: unknown[]) => this.#structured(args) as never;
  }

  /** The policy that judges its calls. */
  get policy(): PolicyEngine {
    return this.#parts.governor.policy;
  }

  /** The name that the model was made with; hosts look at it to know what the model can do. */
  get model(): string | undefined {
    const { model } = this.#parts.source as { model?: unknown };
    return typeof model === "string" ? model : undefined;
  }

  override get profile() {
    return this.#parts.source.profile;
  }

  override getName(suffix?: string): string {
    return this.#parts.source.getName(suffix);
  }

  override _llmType(): string {
    return "driftlock_governed";
  }

  override invocationParams(options?: this["ParsedCallOptions"]): unknown {
    return this.#parts.source.invocationParams(options as never);
  }

  override withConfig(config: Partial<CallOptions>): GovernedChatModel<CallOptions> {
    const { config: before } = this.#parts;
    return new GovernedChatModel({ ...this.#parts, config: mergeConfigs(before, config) });
  }

  override async invoke(input: BaseLanguageModelInput, options?: Partial<CallOptions>): Promise<AIMessageChunk> {
    const plan = await this.#plan(messagesOf(input), options);
    return this.#answer(plan, ({ runnable, config }) => runnable.invoke(input, config) as Promise<AIMessageChunk>);
  }

  override async stream(
    input: BaseLanguageModelInput,
    options?: Partial<CallOptions>,
  ): Promise<IterableReadableStream<AIMessageChunk>> {
    const stream = await this.#open(input, options);
    // Not from a generator: a break must reach a stream that waits for the provider.
    return new IterableReadableStream<AIMessageChunk>({
      async pull(controller) {
        const { done, value } = await stream.next();
        if (done === true) controller.close();
        else controller.enqueue(value as AIMessageChunk);
      },
      cancel: () => stream.abandon(),
    });
  }

  override async *_streamIterator(
    input: BaseLanguageModelInput,
    options?: Partial<CallOptions>,
  ): AsyncGenerator<AIMessageChunk> {
    const stream = await this.#open(input, options);
    try {
      for (let at = await stream.next(); at.done !== true; at = await stream.next()) yield at.value as AIMessageChunk;
    } finally {
      await stream.abandon();
    }
  }

  /** `streamEvents` without a version, which tells callbacks nothing. */
  override async *_streamChatModelEvents(messages: BaseMessage[], options: this["ParsedCallOptions"]) {
    const { [runConfig]: config, ...rest } = options as { [runConfig]?: RunnableConfig };
    const plan = await this.#plan(messages, { ...rest, ...config } as Partial<CallOptions>);
    yield* meterEvents(this.#parts.governor, plan, messages);
  }

  protected override _separateRunnableConfigFromCallOptionsCompat(
    options?: Partial<CallOptions>,
  ): [RunnableConfig, this["ParsedCallOptions"]] {
    const [config, callOptions] = super._separateRunnableConfigFromCallOptionsCompat(options);
    return [config, { ...callOptions, [runConfig]: config }];
  }

  override async generate(
    messages: BaseMessageLike[][],
    options?: string[] | Partial<CallOptions>,
    callbacks?: RunnableConfig["callbacks"],
  ): Promise<LLMResult> {
    const given = (Array.isArray(options) ? { stop: options } : options) as Partial<CallOptions> | undefined;
    const config = callbacks === undefined ? given : ({ callbacks, ...given } as Partial<CallOptions>);
    const results = await Promise.all(
      messages.map(async (list) => {
        const plan = await this.#plan(list.map(coerceMessageLikeToMessage), config);
        return this.#answer(plan, ({ physical: { model, bound }, config }) =>
          model.generate([list], { ...bound, ...config }),
        );
      }),
    );
    return { generations: results.flatMap(({ generations }) => generations), llmOutput: results[0]?.llmOutput };
  }

  override async _generate(messages: BaseMessage[], options: this["ParsedCallOptions"]): Promise<ChatResult> {
    const { generations, llmOutput } = await this.generate([messages], options as Partial<CallOptions>);
    return { generations: generations[0] as ChatResult["generations"], ...(llmOutput && { llmOutput }) };
  }

  /** @internal The same over a source with changes, for a second policy around it. */
  remade(changes: Changes): GovernedChatModel<CallOptions> {
    return new GovernedChatModel({ ...this.#parts, source: rebuild(this.#parts.source, changes) });
  }

  #structured(args: readonly unknown[]): GovernedChatModel<CallOptions> {
    const governed = this.#with({ method: "withStructuredOutput", args });
    // What the model cannot do it says now, not at the first call.
    const { source, governor, operations } = governed.#parts;
    if (!isConfigurable(source)) governor.replay(source, operations);
    return governed;
  }

  #with(operation: Operation): GovernedChatModel<CallOptions> {
    return new GovernedChatModel({ ...this.#parts, operations: [...this.#parts.operations, operation] });
  }

  #plan(messages: readonly BaseMessage[], options: Partial<CallOptions> | undefined): Promise<Plan> {
    const { governor, source, operations, config } = this.#parts;
    const given = config === undefined ? options : mergeConfigs(config, options);
    return governor.plan(source, operations, messages, ensureConfig(given));
  }

  #answer<T>(plan: Plan, send: (attempt: Attempt) => Promise<T>): Promise<T> {
    const { governor } = this.#parts;
    return governor.attempts(plan, async (count) => {
      const attempt = await governor.attempt(plan, count);
      const { capture } = attempt;
      try {
        const answer = await inside(() => send(attempt));
        await capture.close({ answer });
        return answer;
      } catch (error) {
        await capture.close({ error });
        throw capture.wasAnswered ? new Final(error) : error;
      }
    });
  }

  async #open(input: BaseLanguageModelInput, options: Partial<CallOptions> | undefined): Promise<GovernedStream> {
    const { governor } = this.#parts;
    const plan = await this.#plan(messagesOf(input), options);
    return governor.attempts(plan, async (count) => {
      const attempt = await governor.attempt(plan, count, true);
      return inside(() => GovernedStream.open(attempt, input));
    });
  }
}

function messagesOf(input: BaseLanguageModelInput): BaseMessage[] {
  return Converter.messagesOf(input);
}

/** LangChain's own conversion of what a model may be called with is for its models only. */
abstract class Converter extends BaseChatModel {
  static messagesOf(input: BaseLanguageModelInput): BaseMessage[] {
    return BaseChatModel._convertInputToPromptValue(input).toChatMessages();
  }
}
