import type { Pieces } from "./passage.js";
import { isJson, type Json } from "./protocols/protocol.js";
import { priced, type Sent } from "./sent.js";
import { SseReader, type SseEvent, type SsePiece } from "./sse.js";

/**
 * A stream of events: core's meter counts what they add, and takes the usage where one tells it. The meter sees each piece as
 * soon as it was read, so that the events of one piece are those of the last.
 */
export function streamed(pieces: Pieces, sent: Sent): Pieces {
  const reader = new SseReader(sent.asksUsage ? carriesUsageOnly : undefined);
  const usageOf = sent.protocol.usageReader();
  let events: readonly SseEvent[] = [];
  let isOver = false;
  const handOn = ({ bytes, events: completed }: SsePiece): IteratorResult<Uint8Array> => {
    events = completed;
    return { done: false, value: bytes };
  };
  const source: AsyncIterator<Uint8Array> = {
    async next() {
      const result = isOver ? over : await pieces.next();
      if (result.done !== true) return handOn(reader.read(result.value));
      isOver = true;
      const last = reader.end();
      return last === undefined ? over : handOn(last);
    },
    async return() {
      await pieces.return?.();
      return over;
    },
  };
  return sent.auth.meter<Uint8Array, SseEvent>(
    { [Symbol.asyncIterator]: () => source },
    (event) => (typeof event === "string" ? undefined : priced(usageOf(event), sent)),
    () => (events.some(isNotice) ? events.filter((event) => !isNotice(event)) : events),
  );
}

const over = { done: true as const, value: undefined };

/** The chunk that `include_usage` adds: it holds no choice. */
function carriesUsageOnly({ choices, usage }: Json): boolean {
  return Array.isArray(choices) && choices.length === 0 && isJson(usage);
}

/** Events that say nothing of the answer: a sign of life, an error. A chunk that carries choices besides may tell the usage. */
function isNotice(event: SseEvent): boolean {
  if (typeof event !== "object") return false;
  const { type, error, choices } = event;
  return type === "ping" || type === "error" || (isJson(error) && choices === undefined);
}
