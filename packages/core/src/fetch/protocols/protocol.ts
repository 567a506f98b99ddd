import type { AmendedRequest } from "../../call/authorization.js";
import type { UsageReport } from "../../call/open-call.js";
import type { ModelRequest } from "../../domain/request.js";

/** A JSON object: a request's body, an answer, an event of a stream. */
export type Json = Readonly<Record<string, unknown>>;

/** What decides how a granted request is written down. */
interface Writing {
  /** The provider is OpenAI itself (or Azure), as far as host and model tell. */
  readonly isOpenAI: boolean;
  /** The stream is asked for its usage, which the caller did not. */
  readonly asksUsage: boolean;
}

/** One protocol of model calls: what the policy has to know of a request, and where its answers tell what they used. Pure. */
export interface Protocol {
  /** As rules see it: `context.endpoint`. */
  readonly endpoint: string;
  /**
   * The request as the policy judges it, but for its model.
   * @throws ConfigError naming a field that cannot be judged.
   */
  readonly read: (body: Json) => Omit<ModelRequest, "model" | "operation" | "costUsd">;
  /** The body with the model and the maximum the policy granted. */
  readonly write: (body: Json, granted: AmendedRequest, writing: Writing) => Json;
  /** Whether a stream tells its usage only when asked, and this one is not. */
  readonly hidesUsage: (body: Json) => boolean;
  /** What a whole answer used. */
  readonly usageOf: (answer: Json) => UsageReport | undefined;
  /** Finds the usage in the events of one stream, in their order. */
  readonly usageReader: () => (event: Json) => UsageReport | undefined;
  /** The body of an error as the provider words it. */
  readonly errorBody: (error: ErrorDetails) => Json;
}

/** What an error's body says; `type` is one that both OpenAI and Anthropic use. */
export interface ErrorDetails {
  readonly type: "invalid_request_error" | "billing_error";
  readonly message: string;
  readonly code: string;
  readonly param: string | null;
  /** The error itself as a record, for `find`. */
  readonly driftlock?: unknown;
}

export function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The usage with the name of the model that answered, where the answer tells it. */
export function answeredBy(usage: UsageReport | undefined, model: unknown): UsageReport | undefined {
  return usage === undefined || typeof model !== "string" ? usage : { ...usage, model };
}

/** An error as OpenAI words it. */
export function openAIError(error: ErrorDetails): Json {
  return { error };
}
