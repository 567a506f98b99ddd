import { type Answer, planAnswer } from "./answer.js";
import type { Endpoint, Frame } from "./endpoints/endpoint.js";
import { type ErrorBody, errorOfStatus, invalidRequest } from "./error-body.js";
import type { Exchange } from "./exchange.js";
import type { Reply, Script } from "./reply.js";
import type { ReceivedRequest } from "./request.js";
import type { Tab } from "./tab.js";

/**
 * Answers one request as the script says, and bills it. The bill is closed just before the last byte leaves: a client
 * that has its answer finds the entry.
 */
export async function serve(
  exchange: Exchange,
  endpoint: Endpoint,
  request: ReceivedRequest,
  script: Script,
  tab: Tab,
): Promise<void> {
  try {
    const problem = problemOf(endpoint, request);
    if (problem) {
      tab.close("refused");
      exchange.error(400, problem, { word: endpoint.error });
      return;
    }
    const reply = (await exchange.whileConnected(script(request))) ?? {};
    const answer = planAnswer(request, reply, endpoint.demand(request.body));
    const isError = (reply.status ?? 200) >= 400;
    if (!isError) tab.begin(answer);

    await exchange.pause(reply.delayMs ?? 0);
    if (reply.hang) await exchange.untilLeft();

    if (isError) sayError(exchange, endpoint, request, reply, answer, tab);
    else if (request.body.stream && endpoint.frames) {
      await stream(exchange, endpoint.frames(answer, request.body), reply, tab);
    } else if (reply.cutAfterChunks !== undefined) {
      tab.close("failed", answer.usage);
      exchange.cut();
    } else {
      tab.close("completed");
      exchange.json(200, endpoint.json(answer, request.body));
    }
  } catch (error) {
    tab.close(exchange.isOver ? "aborted" : "failed");
    // The client has left: an abort is an outcome, not an error. Anything else is a mistake in a script, to be seen.
    if (!exchange.isOver)
      exchange.error(
        500,
        { ...errorOfStatus(500, ""), message: `The script failed: ${String(error)}` },
        { word: endpoint.error },
      );
  }
}

function problemOf(endpoint: Endpoint, { body }: ReceivedRequest): ErrorBody | undefined {
  return typeof body.model === "string" ? endpoint.problem(body) : invalidRequest("you must provide a model parameter");
}

function sayError(
  exchange: Exchange,
  endpoint: Endpoint,
  request: ReceivedRequest,
  reply: Reply,
  answer: Answer,
  tab: Tab,
): void {
  const status = reply.status!;
  if (status < 500) tab.close("refused");
  else tab.close("failed", reply.usage && answer.usage);
  const error = { ...errorOfStatus(status, request.body.model!), ...reply.error };
  exchange.error(status, error, { retryAfterMs: reply.retryAfterMs, word: endpoint.error });
}

async function stream(exchange: Exchange, frames: readonly Frame[], reply: Reply, tab: Tab): Promise<void> {
  const total = frames.filter((frame) => frame.isContent).length;
  let sent = 0;
  for (const [index, frame] of frames.entries()) {
    if (sent === reply.cutAfterChunks) {
      tab.close("failed");
      exchange.cut();
      return;
    }
    if (sent === reply.hangAfterChunks) await exchange.untilLeft();
    if (frame.isContent && sent > 0) await exchange.pause(reply.chunkDelayMs ?? 0);
    if (index === frames.length - 1) tab.close("completed");
    await exchange.send(frame);
    if (frame.isContent) tab.streamed(++sent / total);
  }
  exchange.end();
}
