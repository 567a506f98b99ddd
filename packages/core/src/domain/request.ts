import type { Labels } from "./labels.js";

/** One model call as the caller means to send it. */
export interface ModelRequest {
  readonly model: string;
  /** OpenAI-shaped messages; the prompt is bounded from them. */
  readonly messages?: readonly unknown[];
  /** A bound of the prompt in tokens, instead of `messages`. */
  readonly inputTokens?: number;
  /** The caller's own maximum. 0 is legal. Default: the policy's `defaultMaxOutputTokens`, which is then sent. */
  readonly maxOutputTokens?: number;
  readonly tools?: readonly unknown[];
  /** Everything else that is sent (`n`, `response_format`, …). */
  readonly params?: Readonly<Record<string, unknown>>;
  readonly operation?: undefined;
  readonly costUsd?: undefined;
}

/** A governed step that is not a model call: a paid tool, an image. */
export interface OperationRequest {
  readonly operation: string;
  /** Its cost in USD, known beforehand. */
  readonly costUsd: number;
  readonly model?: undefined;
}

/** What applies to every request. */
export interface RequestOptions {
  readonly labels?: Labels;
  readonly endpoint?: string;
  /** Whose price list: `openai`, `azure`, … Default: by the model's name. */
  readonly provider?: string;
  readonly signal?: AbortSignal;
  /** ms to wait for holds of other calls; default: the policy's. */
  readonly waitMs?: number;
  /** Lower the caller's own maximum when money is short. Default: the policy's. */
  readonly clamp?: boolean;
  /** The caller sends `auth.request`. An adapter that cannot says false. Default true. */
  readonly amendable?: boolean;
  /** Names one physical attempt; an id already known is a `DuplicateCallError`. Default: a fresh one. */
  readonly id?: string;
}

export type GovernedRequest = (ModelRequest | OperationRequest) & RequestOptions;
