import type { Authorization } from "@driftlock/core";
import type { ChatModelStreamEvent } from "@langchain/core/language_models/event";
import type { BaseMessage } from "@langchain/core/messages";
import { assertGranted } from "../capture.js";
import { textOfEvent } from "../translate/streamed.js";
import { usageFromResult } from "../translate/usage.js";
import { inside, type Governor, type Plan } from "./governor.js";

/** What metering sees of an event. */
interface Seen {
  readonly text: string;
  readonly event: ChatModelStreamEvent;
}

/** The events of a model's own stream, which no callback hears of: asked for, verified and settled here. */
export async function* meterEvents(
  governor: Governor,
  plan: Plan,
  messages: readonly BaseMessage[],
): AsyncGenerator<ChatModelStreamEvent> {
  const events = await governor.attempts(plan, async (count) => {
    const { auth, physical } = await governor.attempt(plan, count);
    const { model, bound } = physical;
    const options = { ...bound, ...plan.config };
    try {
      assertGranted(auth, governor.told(model, options));
    } catch (error) {
      await auth.release();
      throw error;
    }
    return inside(() => opened(auth, model.streamEvents([...messages], options)));
  });
  for await (const { event } of events) yield event;
}

/** Waits for the first event: until then a failure may be tried again. */
async function opened(auth: Authorization, stream: AsyncIterable<ChatModelStreamEvent>): Promise<AsyncIterable<Seen>> {
  const source = stream[Symbol.asyncIterator]();
  try {
    const first = await source.next();
    return auth.meter(seen(source, first), ({ event }) => usageOf(event));
  } catch (error) {
    await auth.fail(error);
    throw error;
  }
}

async function* seen(
  source: AsyncIterator<ChatModelStreamEvent>,
  first: IteratorResult<ChatModelStreamEvent>,
): AsyncGenerator<Seen> {
  try {
    for (let at = first; at.done !== true; at = await source.next())
      yield { text: textOfEvent(at.value), event: at.value };
  } finally {
    await source.return?.();
  }
}

function usageOf(event: ChatModelStreamEvent): ReturnType<typeof usageFromResult> {
  if (event.event !== "message-finish" && event.event !== "usage") return undefined;
  const { usage: usage_metadata, responseMetadata: response_metadata } = event as {
    usage?: unknown;
    responseMetadata?: unknown;
  };
  return usageFromResult({ generations: [[{ text: "", message: { usage_metadata, response_metadata } } as never]] });
}
