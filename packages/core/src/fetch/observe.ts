import { streamed } from "./events.js";
import { piecesOf, withPieces } from "./passage.js";
import type { Sent } from "./sent.js";
import { WholeAnswer } from "./whole.js";

/** The answer as it came, with the call settled at the end of its body. Never throws: the answer is paid for. */
export async function observed(response: Response, sent: Sent): Promise<Response> {
  const { body } = response;
  if (body === null || typeof body.getReader !== "function" || body.locked || response.bodyUsed) {
    await sent.auth.settleQuietly(body === null ? null : undefined);
    return response;
  }
  if (isEventStream(response, sent)) return withPieces(response, body, streamed(piecesOf(body, response), sent), true);
  return new WholeAnswer(sent).watch(response, body);
}

function isEventStream({ headers }: Response, { isStream }: Sent): boolean {
  const type = headers.get("content-type") ?? "";
  return /^\s*text\/event-stream\b/i.test(type) || (isStream && !/^\s*application\/json\b/i.test(type));
}
