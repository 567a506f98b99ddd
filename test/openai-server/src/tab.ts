import type { BilledUsage, BillEntry, Outcome } from "./bill.js";
import type { ReceivedRequest } from "./request.js";

const nothing: BilledUsage = { promptTokens: 0, completionTokens: 0, cachedTokens: 0, reasoningTokens: 0 };

interface BilledAnswer {
  readonly model: string;
  readonly usage: BilledUsage;
}

/** The running charge of one request. It reaches the bill once, when the request ends. */
export class Tab {
  readonly #request: ReceivedRequest;
  readonly #onClosed: (entry: BillEntry) => void;
  #answer: BilledAnswer | undefined;
  #streamedTokens = 0;
  #closed = false;

  constructor(request: ReceivedRequest, onClosed: (entry: BillEntry) => void) {
    this.#request = request;
    this.#onClosed = onClosed;
  }

  /** The model begins to work on `answer`: from here on the prompt is charged. */
  begin(answer: BilledAnswer): void {
    this.#answer = answer;
  }

  /** The part of the visible answer that has left, 0 to 1. */
  streamed(share: number): void {
    const { completionTokens = 0, reasoningTokens = 0 } = this.#answer?.usage ?? {};
    this.#streamedTokens = Math.round((completionTokens - reasoningTokens) * share);
  }

  /** Ends the charge. Only the first call counts: a client that leaves after its answer changes nothing. */
  close(outcome: Outcome, usage: BilledUsage = this.#usageSoFar(outcome)): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClosed({
      id: this.#request.id,
      model: this.#answer?.model ?? this.#request.body.model ?? "",
      endpoint: this.#request.path.split("?", 1)[0]!,
      usage,
      outcome,
      streamedTokens: this.#streamedTokens,
    });
  }

  #usageSoFar(outcome: Outcome): BilledUsage {
    const usage = this.#answer?.usage ?? nothing;
    if (outcome === "completed") return usage;
    // Reasoning comes before the first visible token, so it is charged with it.
    const reasoningTokens = this.#streamedTokens > 0 ? usage.reasoningTokens : 0;
    return { ...usage, reasoningTokens, completionTokens: reasoningTokens + this.#streamedTokens };
  }
}
