import { isJson, type Json } from "./protocols/protocol.js";

/** An event's object; of one that only adds a text, that text. */
export type SseEvent = Json | string;

/** What came of a stream at once: the bytes for the reader, and the events they complete. */
export interface SsePiece {
  readonly bytes: Uint8Array;
  readonly events: readonly SseEvent[];
}

const LF = 10;
const CR = 13;
const nothing = new Uint8Array(0);
const noEvents: readonly SseEvent[] = [];

/**
 * Reads server-sent events out of bytes that pass through unchanged. With `isHidden`, events are held back until they are
 * complete (a client cannot use half an event) and the hidden ones are left out; all others stay byte for byte.
 */
export class SseReader {
  readonly #isHidden: ((event: Json) => boolean) | undefined;
  /** Bytes of an event that is not complete yet. Copies: the bytes that were handed on are the reader's. */
  #pending: Buffer[] = [];
  /** How the bytes so far end, if it is with what an empty line can follow on. */
  #after: "LF" | "LF CR" | undefined;

  constructor(isHidden?: (event: Json) => boolean) {
    this.#isHidden = isHidden;
  }

  read(bytes: Uint8Array): SsePiece {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    // An event can be megabytes long, in thousands of pieces: they are joined once, when its end can have come.
    if (!this.#endsEvent(view)) {
      this.#pending.push(Buffer.from(view));
      return { bytes: this.#isHidden === undefined ? bytes : nothing, events: noEvents };
    }
    const all = this.#pending.length === 0 ? view : Buffer.concat([...this.#pending, view]);
    const { events, end, shown } = split(all, this.#isHidden);
    this.#pending = end === all.length ? [] : [Buffer.from(all.subarray(end))];
    const passesAll = this.#isHidden === undefined || (shown === undefined && all === view && end === view.length);
    return { bytes: passesAll ? bytes : joined(shown ?? [all.subarray(0, end)]), events };
  }

  /** Whether an empty line comes with these bytes, which may begin in those before. */
  #endsEvent(view: Buffer): boolean {
    const { length } = view;
    const before = this.#after;
    if (length > 0) this.#after = lineEnd(view[length - 1], length > 1 ? view[length - 2] === LF : before === "LF");
    if (length > 1 && view[length - 1] === LF && view[length - 2] === LF) return true;
    if (before !== undefined && view[0] === LF) return true;
    if (before === "LF" && view[0] === CR && view[1] === LF) return true;
    return view.includes("\n\n") || view.includes("\n\r\n");
  }

  /** The source has ended: what is left, an event without an end of its own perhaps. */
  end(): SsePiece | undefined {
    if (this.#pending.length === 0) return undefined;
    const rest = Buffer.concat(this.#pending);
    this.#pending = [];
    const { events, shown } = split(Buffer.concat([rest, Buffer.from("\n\n")]), this.#isHidden);
    const isHeld = this.#isHidden !== undefined && shown === undefined;
    return { bytes: isHeld ? joined([rest]) : nothing, events };
  }
}

function lineEnd(last: number | undefined, isAfterLf: boolean): "LF" | "LF CR" | undefined {
  if (last === LF) return "LF";
  return last === CR && isAfterLf ? "LF CR" : undefined;
}

/** The complete events, where the last one ends and, if some are hidden, the bytes of the others. */
function split(
  bytes: Buffer,
  isHidden: ((event: Json) => boolean) | undefined,
): { events: SseEvent[]; end: number; shown: Buffer[] | undefined } {
  const events: SseEvent[] = [];
  let shown: Buffer[] | undefined;
  let data = "";
  let begin = 0;
  for (let line = 0, lf = bytes.indexOf(LF); lf >= 0; line = lf + 1, lf = bytes.indexOf(LF, line)) {
    const stop = lf > line && bytes[lf - 1] === CR ? lf - 1 : lf;
    if (stop > line) {
      if (isData(bytes, line)) data = (data === "" ? "" : `${data}\n`) + bytes.toString("utf8", line + 5, stop);
      continue;
    }
    // An empty line ends the event.
    const event = plainText(data) ?? parsed(data);
    if (event !== undefined) events.push(event);
    if (typeof event === "object" && isHidden?.(event) === true) shown ??= [bytes.subarray(0, begin)];
    else shown?.push(bytes.subarray(begin, lf + 1));
    begin = lf + 1;
    data = "";
  }
  return { events, end: begin, shown };
}

/** Whether a line begins with `data:`. */
function isData(bytes: Buffer, at: number): boolean {
  return (
    bytes[at] === 100 && bytes[at + 1] === 97 && bytes[at + 2] === 116 && bytes[at + 3] === 97 && bytes[at + 4] === 58
  );
}

/** How events begin their text: of chat completions, of Anthropic's messages, of Responses. */
const deltas = ['"delta":{"content":"', '"delta":{"type":"text_delta","text":"', '"delta":"'];

/**
 * The text of an event that adds one, without escapes, and tells no usage: nearly all of a stream's are such, and looking is six
 * times as fast as parsing. Within a JSON text these words cannot stand, because its quotes are escaped.
 */
function plainText(data: string): string | undefined {
  for (const delta of deltas) {
    const at = data.indexOf(delta);
    if (at < 0) continue;
    const from = at + delta.length;
    const to = data.indexOf('"', from);
    const text = data.slice(from, to);
    const isAlone = delta === '"delta":"' || data[to + 1] === "}";
    const usage = data.indexOf('"usage":');
    const tellsUsage = usage >= 0 && /"usage":(?!null)/.test(data.slice(usage));
    return to < 0 || !isAlone || tellsUsage || text.includes("\\") || data.includes('"delta":', to) ? undefined : text;
  }
  return undefined;
}

/** The event's object; `[DONE]` and what is no JSON are none. */
function parsed(data: string): Json | undefined {
  if (!/^\s*\{/.test(data)) return undefined;
  try {
    const event: unknown = JSON.parse(data);
    return isJson(event) ? event : undefined;
  } catch {
    return undefined;
  }
}

/** Bytes of their own: a byte stream takes their memory away, and Node shares a buffer's with others. */
function joined(parts: readonly Buffer[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
