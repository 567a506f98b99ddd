export interface BilledUsage {
  readonly promptTokens: number;
  /** With the reasoning tokens. */
  readonly completionTokens: number;
  /** Of the prompt tokens. */
  readonly cachedTokens: number;
  /** Of the completion tokens. */
  readonly reasoningTokens: number;
  /** Of the prompt tokens; only where the script says so. */
  readonly cacheWriteTokens?: number;
  /** The provider's own price of the answer, in USD; only where the script says so. */
  readonly costUsd?: number;
}

/**
 * - `completed`: the answer went out whole.
 * - `aborted`: the client left first. The prompt is billed, and what was streamed with the reasoning before it.
 * - `refused`: 4xx. Nothing is billed.
 * - `failed`: 5xx, billed only where the reply says so; or a connection cut by the server, see {@link Reply.cutAfterChunks}.
 */
export type Outcome = "completed" | "aborted" | "refused" | "failed";

/** What the provider charges for one request. */
export interface BillEntry {
  /** The request's id, which the client knows as `x-request-id`. */
  readonly id: string;
  /** The model that answered, by the name the answer carries. */
  readonly model: string;
  readonly endpoint: string;
  readonly usage: BilledUsage;
  readonly outcome: Outcome;
  /** Visible output tokens that left in a stream. 0 for an answer that was not streamed. */
  readonly streamedTokens: number;
}
