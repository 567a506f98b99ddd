import type { Answer, Demand } from "../answer.js";
import type { ErrorBody } from "../error-body.js";
import type { RequestBody } from "../request.js";

/** One route of the API: reads a request, writes an answer down in its own words. Pure throughout. */
export interface Endpoint {
  /** What is wrong with the request, as the provider would say it with status 400. */
  readonly problem: (body: RequestBody) => ErrorBody | undefined;
  readonly demand: (body: RequestBody) => Demand;
  readonly json: (answer: Answer, body: RequestBody) => object;
  /** An error as this endpoint words it. Default: OpenAI's `{ error }`. */
  readonly error?: (error: ErrorBody, status: number) => object;
  /** The answer as server-sent events. Absent: the endpoint cannot stream. */
  readonly frames?: (answer: Answer, body: RequestBody) => readonly Frame[];
}

/** One server-sent event. */
export interface Frame {
  readonly event?: string;
  /** An object is sent as JSON, a string as it is. */
  readonly data: object | string;
  /** Carries a chunk of the answer's content: these are counted, delayed and billed. */
  readonly isContent?: boolean;
}
