import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";

/** The fields of the endpoints that the server or a script reads; everything else is there too, untyped. */
export interface RequestBody {
  readonly model?: string;
  readonly messages?: readonly RequestMessage[];
  readonly input?: unknown;
  readonly instructions?: string | null;
  readonly system?: unknown;
  readonly tools?: readonly unknown[];
  readonly response_format?: unknown;
  readonly n?: number | null;
  readonly max_tokens?: number | null;
  readonly max_completion_tokens?: number | null;
  readonly max_output_tokens?: number | null;
  readonly stream?: boolean | null;
  readonly stream_options?: { readonly include_usage?: boolean } | null;
  readonly encoding_format?: string;
  readonly dimensions?: number;
  readonly [field: string]: unknown;
}

export interface RequestMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly tool_calls?: unknown;
  readonly [field: string]: unknown;
}

/** A request as it arrived. */
export interface ReceivedRequest {
  /** Also the `x-request-id` of the response and the `id` of the bill entry; never reused by a server. */
  readonly id: string;
  readonly method: string;
  /** Path with query, as sent: `/v1/chat/completions`. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Empty for a GET, and for a body that is not a JSON object. */
  readonly body: RequestBody;
  /** Milliseconds since the epoch, by the server's clock. */
  readonly at: number;
  /**
   * 1 for a first try, 2 for the first retry and so on: one more than the times the same body came to the same path and
   * was not answered (refused, failed, cut or aborted) since it last was. Works whoever retries: LangChain does it outside
   * of the SDK, whose `x-stainless-retry-count` then stays 0. Equal requests sent in parallel count together.
   */
  readonly attempt: number;
}

/** The body as text, and as an object unless it is not JSON. */
export async function readBody(incoming: IncomingMessage): Promise<{ raw: string; body: RequestBody | undefined }> {
  const raw = await text(incoming);
  try {
    const body: unknown = JSON.parse(raw || "{}");
    return { raw, body: typeof body === "object" && body !== null ? (body as RequestBody) : undefined };
  } catch {
    // Not JSON: the server answers 400, as the provider does.
    return { raw, body: undefined };
  }
}
