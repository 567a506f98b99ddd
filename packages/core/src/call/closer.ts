import { costToNano, toUsd } from "../domain/money.js";
import type { Receipt } from "../domain/receipt.js";
import { readUsage, usageProblem } from "../domain/usage.js";
import { DriftlockError, messageOf } from "../errors/driftlock-error.js";
import { StoreError } from "../errors/store-error.js";
import { UsageError } from "../errors/usage-error.js";
import type { Actual, Closed, Hold } from "../ledger/ledger.js";
import { costOf, priceFor } from "../pricing/price.js";
import type { Tokenizer } from "../pricing/tokenizer.js";
import type { Charged, Closable, OpenCall, UsageReport } from "./open-call.js";
import type { Parts } from "./parts.js";

/** What a close charges, and how sure it is. */
interface Bill {
  readonly actual: Actual;
  readonly estimated: boolean;
}

/** Ends calls: prices what they used, moves the money, tells the listeners. */
export class Closer {
  readonly tokenizer: Tokenizer | undefined;
  readonly #parts: Parts;
  readonly #onEnd: (closing: Closable) => void;

  /** @param onEnd Told about every call of this process that ends. */
  constructor(parts: Parts, onEnd: (closing: Closable) => void) {
    this.#parts = parts;
    this.#onEnd = onEnd;
    this.tokenizer = parts.options.tokenizer;
  }

  /** Charges a call of this process. `estimated`: the usage is counted from a stream, not reported. */
  settle(closing: Closable, usage: UsageReport | undefined, estimated = false): Promise<Receipt> {
    this.#onEnd(closing);
    return this.book(closing, usage, estimated);
  }

  /** Charges a call by its ticket, perhaps of another process. */
  settleTicket(call: OpenCall, usage: UsageReport | undefined): Promise<Receipt> {
    return this.book({ call, views: undefined, onClosed: undefined }, usage);
  }

  /** Charges a call that this process does not keep open. */
  async book(closing: Closable, usage: UsageReport | undefined, estimated = false): Promise<Receipt> {
    const { report, wrong } = read(usage);
    const bill =
      wrong === undefined ? this.#bill(closing.call, report, estimated) : this.#bill(closing.call, undefined, true);
    const receipt = await this.#settle(closing, bill);
    if (wrong !== undefined) throw new UsageError({ ...wrong, receipt });
    return receipt;
  }

  /** Charges what a bill is above what had been charged when the call was given up: the ledger never forgets money. */
  async settleLate(closing: Closable, charged: Receipt, usage: UsageReport): Promise<Receipt> {
    const { call } = closing;
    const { report, wrong } = read(usage);
    if (wrong !== undefined) throw new UsageError({ ...wrong, receipt: charged });
    const usd = this.#bill(call, report, false).actual.usd - costToNano(charged.costUsd);
    if (usd <= 0) return { ...this.#receipt(call, 0, false), duplicate: true };
    const hold = {
      ...call.hold,
      id: ` late ${call.id}`,
      epoch: "",
      amounts: call.hold.amounts.map(() => 0),
      named: true,
    };
    const late = {
      call: { ...call, hold, boundNano: 0, heldNano: 0 },
      views: closing.views,
      onClosed: closing.onClosed,
    };
    return this.#settle(late, { actual: { usd, tokens: 0, known: false }, estimated: false });
  }

  async release(closing: Closable, reason: "never-sent" | "unbilled"): Promise<Receipt> {
    const { call } = closing;
    const { ledger, guard, emitter } = this.#parts;
    this.#onEnd(closing);
    const receipt = this.#receipt(call, 0, false);
    let closed: Closed | undefined;
    try {
      const answer = guard.ask("release", call.id, () => ledger.release(call.hold, closing.views));
      closed = answer instanceof Promise ? await answer : answer;
    } catch (error) {
      if (!StoreError.isInstance(error)) throw error;
      const told = once(({ readings }: Closed) => {
        this.#landed(call);
        closing.onClosed?.(receipt, readings, nothing);
      });
      guard.insist("release", call.id, async () => told(await ledger.release(call.hold, closing.views)));
    }
    if (closed !== undefined) this.#landed(call);
    this.#freed(call.hold);
    if (closed?.outcome === "duplicate") return receipt;
    if (closed !== undefined) closing.onClosed?.(receipt, closed.readings, nothing);
    emitter.emit("call-released", () => ({ ...eventOf(call), reason }));
    return receipt;
  }

  /** Whether it is certain that a failed call was not billed: never sent, or refused with HTTP 4xx. */
  isUnbilled(error: unknown): boolean {
    if (this.#isUnbilledByCaller(error)) return true;
    try {
      return isCertainlyUnbilled(error);
    } catch {
      // Anything can be thrown, also what cannot be read: then nothing is certain.
      return false;
    }
  }

  /** A judgement that fails is none: the call is charged, and its own error stays the one that is thrown. */
  #isUnbilledByCaller(error: unknown): boolean {
    try {
      return this.#parts.options.isUnbilled?.(error) === true;
    } catch (failure) {
      this.#parts.emitter.report(failure, "isUnbilled");
      return false;
    }
  }

  later(ms: number, run: () => void): void {
    this.#parts.clock.after(ms, run);
  }

  /** Tells of bookkeeping that failed after an answer was there. */
  report(id: string, error: unknown): void {
    const { emitter } = this.#parts;
    const message = messageOf(error);
    if (UsageError.isInstance(error)) emitter.emit("usage-invalid", () => ({ id, field: error.field, message }));
    else emitter.emit("store-failed", () => ({ operation: "settle", message, id }));
  }

  async #settle(closing: Closable, { actual, estimated }: Bill): Promise<Receipt> {
    const { call, views } = closing;
    const { ledger, guard, emitter } = this.#parts;
    let closed: Closed | undefined;
    try {
      const answer = guard.ask("settle", call.id, () => ledger.settle(call.hold, actual, views));
      closed = answer instanceof Promise ? await answer : answer;
    } catch (error) {
      if (!StoreError.isInstance(error)) throw error;
      const late = this.#receipt(call, actual.usd, estimated);
      const told = once(({ readings }: Closed) => {
        this.#landed(call);
        closing.onClosed?.(late, readings, chargedBy(actual));
      });
      guard.insist("settle", call.id, async () => told(await ledger.settle(call.hold, actual, views)));
    }
    if (closed !== undefined) this.#landed(call);
    if (closed?.outcome === "duplicate") return { ...this.#receipt(call, 0, estimated), duplicate: true };
    const receipt = this.#receipt(call, actual.usd, estimated, closed === undefined);
    this.#freed(call.hold);
    if (closed !== undefined) closing.onClosed?.(receipt, closed.readings, chargedBy(actual));
    emitter.emit("call-settled", () => ({ ...eventOf(call), receipt }));
    if (closed?.outcome === "corrected") emitter.emit("lease-expired", () => ({ ...eventOf(call), receipt }));
    return receipt;
  }

  #bill(call: OpenCall, usage: UsageReport | undefined, estimated: boolean): Bill {
    const { fixed = false, boundNano } = call;
    const { inputTokens = call.inputTokens, outputTokens = call.outputTokens } = usage ?? {};
    const tokens = inputTokens + outputTokens;
    const bill = (usd: number, known: boolean) => ({ actual: { usd, tokens, known }, estimated: !known });
    if (usage?.costUsd !== undefined) return bill(costToNano(usage.costUsd), !estimated);
    if (fixed || usage === undefined) return bill(boundNano, fixed && !estimated);
    const usd = this.#price(call, Object.assign({}, usage, { inputTokens, outputTokens }));
    return bill(usd ?? boundNano, usd !== undefined && !estimated);
  }

  /** nano-USD by the price of the model that answered, else of the one that was sent; undefined: no price is known. */
  #price(call: OpenCall, usage: UsageReport & { inputTokens: number; outputTokens: number }): number | undefined {
    const { prices, unknownPrice, clock } = this.#parts;
    const now = clock.now();
    const answered = usage.model === undefined ? undefined : prices.lookup(usage.model, call.provider, now);
    const match = answered ?? prices.lookup(call.model, call.provider, now) ?? unknownPrice;
    if (match === undefined) return undefined;
    return costOf(call.kinds === undefined ? match.price : priceFor(match.price, call.kinds), usage);
  }

  #receipt({ id, model, heldNano }: OpenCall, nano: number, estimated: boolean, pending = false): Receipt {
    const receipt = { id, model, costUsd: toUsd(nano), heldUsd: toUsd(heldNano), estimated };
    const overshot = heldNano > 0 && nano > heldNano;
    if (!overshot && !pending) return receipt;
    return {
      ...receipt,
      ...(overshot ? { overshootUsd: toUsd(nano - heldNano) } : {}),
      ...(pending ? { pending } : {}),
    };
  }

  /** The ledger has the close of a call that went without it. */
  #landed({ hold, boundNano }: OpenCall): void {
    if (hold.epoch === "") this.#parts.outage.accounted(boundNano);
  }

  #freed({ meters }: Hold): void {
    this.#parts.room.freed(meters);
  }
}

const nothing: Charged = { usd: 0, tokens: 0, released: true };

function chargedBy({ usd, tokens }: Actual): Charged {
  return { usd, tokens, released: false };
}

/** A report as data of its own, and what is wrong with it. */
function read(usage: unknown): { report: UsageReport | undefined; wrong: ReturnType<typeof usageProblem> } {
  if (usage === undefined) return { report: undefined, wrong: undefined };
  try {
    const report = typeof usage === "object" && usage !== null ? readUsage(usage) : usage;
    return { report: report as UsageReport, wrong: usageProblem(report) };
  } catch {
    return {
      report: undefined,
      wrong: { field: "usage", value: usage, problem: "must be an object that can be read" },
    };
  }
}

/** It was never sent, or refused with HTTP 4xx. */
function isCertainlyUnbilled(error: unknown): boolean {
  for (let at: unknown = error, depth = 0; typeof at === "object" && at !== null && depth < 5; depth++) {
    // A refusal of ours, thrown inside the call, says nothing about what the call had already been billed.
    if (DriftlockError.isInstance(at)) return false;
    const { status, statusCode, response, code, cause } = at as FailedCall;
    const http = [status, statusCode, response?.status].find((each) => typeof each === "number");
    if (http !== undefined) return http >= 400 && http < 500;
    if (typeof code === "string" && neverSent.has(code)) return true;
    at = cause;
  }
  return false;
}

/** A close that was tried again is told once, also when the first try had come through and only its answer was lost. */
function once(tell: (closed: Closed) => void): (closed: Closed) => void {
  let told = false;
  return (closed) => {
    if (!told) tell(closed);
    told = true;
  };
}

/** Where clients put the HTTP status: the SDKs, fetch wrappers, axios. */
interface FailedCall {
  readonly status?: number;
  readonly statusCode?: number;
  readonly response?: { readonly status?: number } | null;
  readonly code?: unknown;
  readonly cause?: unknown;
}

/** Errors of a connection that was never made. */
const neverSent: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** What events say of a call. */
function eventOf({ id, model, labels }: OpenCall): { id: string; model: string; labels: OpenCall["labels"] } {
  return { id, model, labels };
}
