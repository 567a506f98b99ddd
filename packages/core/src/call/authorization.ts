import { toUsd } from "../domain/money.js";
import type { Receipt } from "../domain/receipt.js";
import type { ModelRequest, RequestOptions } from "../domain/request.js";
import { ConfigError } from "../errors/config-error.js";
import { UsageError } from "../errors/usage-error.js";
import type { Meter } from "../ledger/ledger.js";
import { checkFunction } from "../policy/options.js";
import type { Closer } from "./closer.js";
import { ticketOf, type Closable, type OnClosed, type OpenCall, type UsageReport } from "./open-call.js";
import { isAsyncIterable, MeteredStream, StreamTally, type StreamEnd } from "./stream.js";

/** A request as it may be sent: the model and the maximum are the policy's. An operation's model is its name. */
export type AmendedRequest = Omit<ModelRequest, "operation" | "costUsd"> &
  RequestOptions & { readonly operation?: string | undefined; readonly costUsd?: number | undefined };

/** A call that may be sent. It holds money until it is settled or released; only the first close counts. */
export class Authorization implements Closable {
  readonly id: string;
  /** Send this, not the original: `model` and `maxOutputTokens` may differ. */
  readonly request: AmendedRequest;
  /** @internal Meters whose readings rules and thresholds want after the close. */
  readonly views: readonly Meter[] | undefined;
  /** @internal Called once with the receipt and the readings of `views`. */
  readonly onClosed: OnClosed | undefined;
  /** @internal */
  readonly call: OpenCall;
  /** @internal ms since the epoch. */
  readonly at: number;
  readonly #closer: Closer;
  /** The close at `maxCallMs`, and the real bill that came after it. */
  #abandoned: Promise<Receipt> | undefined;
  #late: Promise<Receipt> | undefined;
  #settled: Promise<Receipt> | undefined;
  #released: Promise<unknown> | undefined;
  #stream: MeteredStream<unknown> | undefined;
  /** What `streamed` counted. */
  #tally: StreamTally | undefined;
  /** `streamed` was called since the lease was last looked at. */
  #isFresh = false;
  #lapses = false;

  /** @internal */
  constructor(
    closer: Closer,
    call: OpenCall,
    request: AmendedRequest,
    at: number,
    watch: { views: readonly Meter[]; onClosed: OnClosed } | undefined,
  ) {
    this.id = call.id;
    this.call = call;
    this.request = request;
    this.at = at;
    this.views = watch?.views;
    this.onClosed = watch?.onClosed;
    this.#closer = closer;
  }

  /** USD set aside. */
  get heldUsd(): number {
    return toUsd(this.call.heldNano);
  }

  /** Closes the call from any process: `policy.settle(auth.ticket, usage)`. Holds no prompt text. */
  get ticket(): string {
    return ticketOf(this.call);
  }

  /** Whether it has been settled or released. */
  get closed(): boolean {
    return this.#settled !== undefined || this.#released !== undefined;
  }

  /** @internal Nothing shows that somebody will close the call: its lease is then not renewed. Asked once a renewal. */
  isIdle(): boolean {
    if (this.#lapses) return true;
    if (this.#stream !== undefined) return !this.#stream.reading;
    const isFresh = this.#isFresh || this.#tally === undefined;
    this.#isFresh = false;
    return !isFresh;
  }

  /**
   * Ends the call with what it used. Without a usage it is charged its input and what was `streamed`, else at its bound, never
   * at 0. A second close changes nothing and answers the first receipt; after a release it charges what was used after all.
   * After the call was closed at `maxCallMs`, a usage is charged as far as it is above what was charged then.
   * Throws `UsageError` for a usage that cannot be true, after charging the bound.
   */
  settle(usage?: UsageReport): Promise<Receipt> {
    const given = this.#abandoned;
    if (given !== undefined && usage !== undefined) {
      return (this.#late ??= given.then((charged) => this.#closer.settleLate(this, charged, usage)));
    }
    const tally = usage === undefined ? this.#tally : undefined;
    return (this.#settled ??=
      tally === undefined ? this.#closer.settle(this, usage) : this.#settleAt(tally.outputTokens));
  }

  /** Ends a call that was never sent. After a settle it changes nothing. */
  async release(): Promise<void> {
    await this.#release("never-sent");
  }

  /**
   * Passes a stream through and settles at its end. Broken off, failed or aborted, the call is charged its input and what was
   * streamed, and the source is closed. `usageOf` finds the usage in a chunk; default: OpenAI-shaped chunks. `partsOf` takes
   * chunks apart that hold several events (pieces of a network stream); `usageOf` then looks at each.
   */
  meter<Chunk, Part = Chunk>(
    stream: AsyncIterable<Chunk>,
    usageOf?: (chunk: Part) => UsageReport | undefined,
    partsOf?: (chunk: Chunk) => readonly Part[],
  ): AsyncIterableIterator<Chunk> {
    if (!isAsyncIterable(stream))
      throw new ConfigError({ field: "stream", value: stream, problem: "must be an async iterable" });
    checkFunction("usageOf", usageOf, true);
    checkFunction("partsOf", partsOf, true);
    const { tokenizer } = this.#closer;
    const { signal } = this.request;
    const find = usageOf as ((part: unknown) => unknown) | undefined;
    const metered = new MeteredStream(stream, (end) => this.#streamed(end), {
      usageOf: find,
      partsOf,
      tokenizer,
      signal,
    });
    this.#stream = metered as MeteredStream<unknown>;
    return metered;
  }

  /**
   * Counts output of a stream that does not pass through `meter`; "" only tells that the call streams. From then on its lease
   * is renewed only while more comes.
   */
  streamed(text: string): void {
    if (typeof text !== "string")
      throw new ConfigError({ field: "text", value: text, problem: "must be the text that came" });
    this.#tally ??= new StreamTally(this.#closer.tokenizer);
    this.#tally.add(text);
    this.#isFresh = true;
  }

  /** Lets the lease run out: nobody is left to close the call. A close that comes all the same counts. */
  lapse(): void {
    this.#lapses = true;
  }

  /** The caller gave the call up. Unless its end is told within a second, it is charged its input and what was `streamed`. */
  giveUp(): void {
    this.streamed("");
    this.#closer.later(1_000, () => {
      if (!this.closed) void this.settleQuietly(undefined);
    });
  }

  /** `settle` for a call whose answer is there: bookkeeping that fails is told by events, never thrown. */
  async settleQuietly(usage: unknown): Promise<Receipt | undefined> {
    try {
      return await this.settle(usage as UsageReport | undefined);
    } catch (error) {
      this.#closer.report(this.id, error);
      return undefined;
    }
  }

  /**
   * Ends a call that failed. It is released only where it is certain that nothing was billed (never sent, HTTP 4xx, your
   * `isUnbilled`), else settled like one without a usage. Never throws.
   */
  async fail(error: unknown): Promise<void> {
    if (this.#tally === undefined && this.#closer.isUnbilled(error)) await this.#release("unbilled");
    else if (this.#released === undefined) await this.settleQuietly(undefined);
  }

  /** @internal The process lives but nobody closed the call: charged at what was seen. */
  async abandon(): Promise<void> {
    if (this.#stream !== undefined) return this.#stream.abandon();
    if (this.closed) return;
    this.#abandoned = this.settle();
    await this.#abandoned.catch((error: unknown) => this.#closer.report(this.id, error));
  }

  async #streamed({ outputTokens, isWhole, usage, error }: StreamEnd): Promise<void> {
    if (error !== undefined && this.#closer.isUnbilled(error)) await this.fail(error);
    else if (usage !== undefined) await this.settleQuietly(usage);
    else if (isWhole && outputTokens === 0) await this.#settleUnseen();
    else {
      this.#settled ??= this.#settleAt(outputTokens);
      await this.#settled.catch((failure: unknown) => this.#closer.report(this.id, failure));
    }
  }

  /** Charges the input and the output that was seen, marked as estimated. */
  #settleAt(outputTokens: number): Promise<Receipt> {
    return this.#closer.settle(this, { inputTokens: this.call.inputTokens, outputTokens }, true);
  }

  /** A whole stream without text and without a usage: nothing is known of it, so it is charged at its bound. */
  async #settleUnseen(): Promise<void> {
    const problem = "the stream carried neither a usage nor text; say where the usage is with usageOf";
    this.#closer.report(this.id, new UsageError({ field: "usage", value: undefined, problem }));
    await this.settleQuietly(undefined);
  }

  async #release(reason: "never-sent" | "unbilled"): Promise<void> {
    if (this.#settled === undefined) await (this.#released ??= this.#closer.release(this, reason));
  }
}
