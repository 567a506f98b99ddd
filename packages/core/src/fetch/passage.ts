/** The pieces of a body, as they are read; `return` cancels it. */
export type Pieces = AsyncIterator<Uint8Array, unknown, undefined>;

/**
 * Reads the body of a response. A piece is read when it is asked for, not before. The response is kept with it: Node leaves the
 * provider when a response whose body was not begun is collected.
 */
export function piecesOf(body: ReadableStream<Uint8Array>, response: Response): Pieces {
  let opened: { reader: ReadableStreamDefaultReader<Uint8Array>; response: Response } | undefined;
  const open = () => (opened ??= { reader: body.getReader(), response });
  return {
    next: () => open().reader.read() as Promise<IteratorResult<Uint8Array>>,
    async return() {
      await open().reader.cancel();
      return { done: true, value: undefined };
    },
  };
}

/** Ends a stream that nobody can read any more: the policy, which keeps open calls, would hold it until `maxCallMs`. */
const dropped = new FinalizationRegistry<Pieces>((pieces) => void pieces.return?.().catch(() => {}));

/**
 * The response with other pieces in place of its original body: status, headers, address and the kind of stream stay. A piece is asked for when
 * the reader asks, and a cancel goes on to `pieces`. With `endsDropped`, so does that nobody holds the body any more.
 */
export function withPieces(
  response: Response,
  original: ReadableStream<Uint8Array>,
  pieces: Pieces,
  endsDropped: boolean,
): Response {
  const source = {
    async pull(controller: Controller) {
      for (;;) {
        const { done, value } = await pieces.next();
        if (done === true) {
          controller.close();
          // Whoever waits with memory of their own gets it back.
          controller.byobRequest?.respond(0);
          return;
        }
        if (value.byteLength === 0) continue;
        controller.enqueue(value);
        return;
      }
    },
    async cancel() {
      await pieces.return?.();
    },
  };
  const lazily = { highWaterMark: 0 };
  const body = isByteStream(original)
    ? new ReadableStream({ ...source, type: "bytes" }, lazily)
    : new ReadableStream<Uint8Array>(source, lazily);
  if (endsDropped) dropped.register(body, pieces);
  const { status, statusText, headers } = response;
  const passed = new Response(body, { status, statusText, headers });
  for (const name of ["url", "redirected", "type"] as const)
    if (passed[name] !== response[name]) Object.defineProperty(passed, name, { value: response[name] });
  return passed;
}

interface Controller {
  readonly byobRequest?: { respond(bytes: number): void } | null;
  enqueue(bytes: Uint8Array): void;
  close(): void;
}

/** Whether a body can be read into memory of the reader's own, as those of Node's `fetch` can. */
function isByteStream(body: ReadableStream<Uint8Array>): boolean {
  try {
    body.getReader({ mode: "byob" }).releaseLock();
    return true;
  } catch {
    return false;
  }
}
