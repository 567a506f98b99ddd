import { concat } from "@langchain/core/utils/stream";
import type { Capture } from "../capture.js";
import { textOfChunk } from "../translate/streamed.js";
import { Final, type Attempt } from "./governor.js";

/** Streams that nobody can read any more: nobody will come to end them. */
const dropped = new FinalizationRegistry<{ readonly capture: Capture; readonly cut: AbortController }>(
  ({ capture, cut }) => {
    cut.abort();
    void capture.close();
  },
);

/**
 * A governed stream while it is read: counts what comes, settles at its end, and where it is broken off settles at what was
 * streamed and cuts the connection.
 */
export class GovernedStream {
  readonly #attempt: Attempt;
  readonly #source: AsyncIterator<unknown>;
  readonly #cut: AbortController;
  #first: IteratorResult<unknown> | undefined;
  /** What has come of a model that tells callbacks nothing. */
  #answer: unknown;
  #isOver = false;

  private constructor(attempt: Attempt, source: AsyncIterator<unknown>, cut: AbortController) {
    this.#attempt = attempt;
    this.#source = source;
    this.#cut = cut;
  }

  /** Sends the call and waits for its first chunk: until then a failure may be tried again. Ends the call when it fails. */
  static async open(attempt: Attempt, input: unknown): Promise<GovernedStream> {
    const cut = new AbortController();
    const { runnable, config, capture } = attempt;
    const signal = config.signal === undefined ? cut.signal : AbortSignal.any([config.signal, cut.signal]);
    try {
      const source = await runnable.stream(input, { ...config, signal });
      const stream = new GovernedStream(attempt, source, cut);
      stream.#first = await stream.#read();
      dropped.register(stream, { capture, cut });
      return stream;
    } catch (error) {
      await capture.close({ error });
      throw capture.wasAnswered ? new Final(error) : error;
    }
  }

  async next(): Promise<IteratorResult<unknown>> {
    const first = this.#first;
    if (first !== undefined) {
      this.#first = undefined;
      return first;
    }
    try {
      return await this.#read();
    } catch (error) {
      if (this.#isOver) return { done: true, value: undefined };
      this.#isOver = true;
      await this.#attempt.capture.close({ error, answer: this.#answer });
      throw error;
    }
  }

  /** Broken off. After the end it changes nothing. */
  async abandon(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cut.abort();
    await this.#attempt.capture.close({ answer: this.#answer });
    // It may have to wait for the provider, whom nobody listens to any more.
    this.#source.return?.().catch(() => {});
  }

  async #read(): Promise<IteratorResult<unknown>> {
    const { capture, auth, isRead } = this.#attempt;
    const result = await this.#source.next();
    if (result.done === true) {
      this.#isOver = true;
      await capture.close({ answer: this.#answer });
    } else {
      if (isRead) auth.streamed(textOfChunk(textOf(result.value), { message: result.value }));
      if (!capture.wasSent)
        this.#answer =
          isRead && this.#answer !== undefined ? concat(this.#answer as never, result.value as never) : result.value;
    }
    return result;
  }
}

function textOf(message: unknown): string {
  const { text } = message as { text?: unknown };
  return typeof text === "string" ? text : "";
}
