import { AsyncResource } from "node:async_hooks";
import {
  ConfigError,
  DriftlockError,
  usageFromOpenAI,
  withAmbient,
  type PolicyEngine,
  type UsageReport,
} from "@driftlock/core";
import { Embeddings, type EmbeddingsInterface } from "@langchain/core/embeddings";
import { AsyncCaller } from "@langchain/core/utils/async_caller";
import { checkModelName, checkPolicy } from "./check.js";
import { Labeller, type LabelOptions } from "./labels.js";
import { telling } from "./refusals.js";

/** Options of `governEmbeddings`. */
export interface GovernEmbeddingsOptions extends Omit<LabelOptions, "labelsFrom" | "trustedLabels"> {
  /** Judges every request, and keeps its money. */
  policy: PolicyEngine;
  /** The model's name where the embeddings do not tell it. Default: none, such a request is refused. */
  model?: string | undefined;
  /** Whose price list: `openai`, `azure`, … Default: by the model's name, which several providers may have. */
  provider?: string | undefined;
}

/**
 * Embeddings under a policy: every request asks it before it is sent. Requests of OpenAI's
 * and Azure's are settled at their usage; of others LangChain tells none, and they are settled at the bound of their texts. A downgrade is refused: another model's vectors would not fit the others.
 *
 * ```ts
 * const embeddings = governEmbeddings(new OpenAIEmbeddings({ model: "text-embedding-3-small" }), { policy });
 * ```
 *
 * @throws ConfigError naming the option and its value.
 */
export function governEmbeddings(embeddings: EmbeddingsInterface, options: GovernEmbeddingsOptions): Embeddings {
  const { policy, model } = (options ?? {}) as Partial<GovernEmbeddingsOptions>;
  checkPolicy(policy);
  checkModelName(model);
  const { embedDocuments, embedQuery } = (embeddings ?? {}) as Partial<EmbeddingsInterface>;
  if (typeof embedDocuments !== "function" || typeof embedQuery !== "function") {
    throw new ConfigError({ field: "embeddings", value: embeddings, problem: "must be embeddings of LangChain" });
  }
  return new GovernedEmbeddings(embeddings, options);
}

/** What packages have, as far as it is used. */
interface Described extends EmbeddingsInterface {
  readonly model?: unknown;
  readonly modelName?: unknown;
  /** Texts that a request may hold. */
  readonly batchSize?: unknown;
  readonly caller?: AsyncCaller;
  /** Of OpenAI's and Azure's: sends one request. */
  readonly embeddingWithRetry?: (request: unknown) => Promise<{ usage?: unknown }>;
}

/** Tokens around a text that some models add. A token of the text itself is at least a byte. */
const MARKS = 4;

class GovernedEmbeddings extends Embeddings {
  readonly #inner: Described;
  readonly #policy: PolicyEngine;
  readonly #model: string;
  readonly #provider: string | undefined;
  readonly #labeller: Labeller;

  constructor(inner: Described, options: GovernEmbeddingsOptions) {
    super({});
    const model = inner.model ?? inner.modelName ?? options.model;
    if (typeof model !== "string" || model === "") {
      const problem = "LangChain does not tell which model embeds; name it with the option model, beside policy";
      throw new ConfigError({ field: "model", value: model, problem });
    }
    this.#inner = inner;
    this.#policy = options.policy;
    this.#model = model;
    this.#provider = options.provider;
    this.#labeller = new Labeller(options, options.policy);
  }

  override async embedDocuments(documents: string[]): Promise<number[][]> {
    const { batchSize } = this.#inner;
    const size = typeof batchSize === "number" && batchSize >= 1 ? batchSize : documents.length;
    const batches: string[][] = [];
    for (let at = 0; at < documents.length; at += size) batches.push(documents.slice(at, at + size));
    const embed = (batch: string[]) => this.#request(batch, (embeddings) => embeddings.embedDocuments(batch));
    return (await Promise.all(batches.map(embed))).flat();
  }

  override async embedQuery(document: string): Promise<number[]> {
    return this.#request([document], (embeddings) => embeddings.embedQuery(document));
  }

  /** As often as the embeddings themselves would try it, each attempt authorized and accounted. */
  async #request<T>(texts: readonly string[], send: (embeddings: Described) => Promise<T>): Promise<T> {
    const { caller } = this.#inner;
    const once = async (): Promise<{ value: T } | { error: unknown }> => {
      try {
        return { value: await this.#attempt(texts, send) };
      } catch (error) {
        // A refusal must not look like a failure to LangChain's retries.
        if (DriftlockError.isInstance(error)) return { error };
        throw error;
      }
    };
    // LangChain's queue starts a call in the async context of the one before it: labels and missions are the call's own.
    const result = caller === undefined ? await once() : await caller.call(AsyncResource.bind(once));
    if ("value" in result) return result.value;
    throw result.error;
  }

  async #attempt<T>(texts: readonly string[], send: (embeddings: Described) => Promise<T>): Promise<T> {
    const request = {
      model: this.#model,
      inputTokens: texts.reduce((sum, text) => sum + Buffer.byteLength(text) + MARKS, 0),
      maxOutputTokens: 0,
      amendable: false,
      ...(this.#provider !== undefined && { provider: this.#provider }),
      labels: this.#labeller.labelsOf(),
    };
    const auth = await telling(this.#policy.authorize(request));
    let usage: UsageReport | undefined;
    const inner = once(this.#inner, (answer) => (usage = usageFromOpenAI(answer)));
    try {
      const vectors = await withAmbient({ insideCall: true }, () => send(inner));
      await auth.settleQuietly(usage);
      return vectors;
    } catch (error) {
      await auth.fail(error);
      throw error;
    }
  }
}

/** The same embeddings for one request: without retries of their own, and with their answer's usage told. */
function once(embeddings: Described, told: (usage: unknown) => void): Described {
  const { caller, embeddingWithRetry } = embeddings;
  return Object.create(embeddings, {
    ...(caller !== undefined && { caller: { value: new AsyncCaller({ maxRetries: 0 }) } }),
    ...(typeof embeddingWithRetry === "function" && {
      embeddingWithRetry: {
        async value(this: Described, request: unknown) {
          const answer = await embeddingWithRetry.call(this, request);
          told(answer?.usage);
          return answer;
        },
      },
    }),
  }) as Described;
}
