/** A local HTTP server that speaks the OpenAI protocol and Anthropic's messages, and keeps its own bill. */
export { startOpenAIServer, type OpenAIServer, type OpenAIServerOptions } from "./server.js";
export type { Reply, ReplyToolCall, ReplyUsage, Script } from "./reply.js";
export type { ReceivedRequest, RequestBody, RequestMessage } from "./request.js";
export type { BilledUsage, BillEntry, Outcome } from "./bill.js";
export type { ErrorBody } from "./error-body.js";
