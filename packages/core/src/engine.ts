import { readAmbient, withAmbient, type Ambient } from "./ambient/ambient.js";
import { Admission } from "./call/admission.js";
import { adviseOnce, MemoryAdvice } from "./call/advice.js";
import { afterClose } from "./call/after-close.js";
import { amend, openCallOf, setsMaximum } from "./call/amend.js";
import { Authorization, type AmendedRequest } from "./call/authorization.js";
import { Call, placed } from "./call/call.js";
import { ClaimCompiler } from "./call/claims.js";
import { Closer } from "./call/closer.js";
import { Control } from "./call/control.js";
import { extensionOf, type PolicyExtension } from "./call/extension.js";
import { inspect, usageOfRules, type UsageRow, type Verdict } from "./call/inspect.js";
import { callOfTicket, type UsageReport } from "./call/open-call.js";
import { Outage } from "./call/outage.js";
import { OpenCalls } from "./call/open-calls.js";
import { Operators, type AdjustOptions, type FreezeOptions } from "./call/operators.js";
import type { Parts } from "./call/parts.js";
import { record, type SpendRecord } from "./call/record.js";
import { readRequest } from "./call/request.js";
import { isAsyncIterable } from "./call/stream.js";
import { usageFromOpenAI } from "./call/usage-from-openai.js";
import { USER_LABEL, type Labels } from "./domain/labels.js";
import type { Receipt } from "./domain/receipt.js";
import type { GovernedRequest } from "./domain/request.js";
import { ConfigError, reading } from "./errors/config-error.js";
import { messageOf } from "./errors/driftlock-error.js";
import { UsageError } from "./errors/usage-error.js";
import { Emitter } from "./events/emitter.js";
import type { PolicyEventName, PolicyEvents } from "./events/events.js";
import { LedgerGuard } from "./ledger/guard.js";
import type { Ledger } from "./ledger/ledger.js";
import { isShareable, openLedger } from "./ledger/open.js";
import { WaitingRoom } from "./ledger/waiting-room.js";
import { resolveOptions, type PolicyEngineOptions } from "./options.js";
import type { PlacedRule } from "./policy/decide.js";
import { atOnce, checkFunction } from "./policy/options.js";
import { compilePrice } from "./pricing/compile-price.js";
import type { Price } from "./pricing/price.js";
import { PriceBook, type PriceMatch } from "./pricing/price-book.js";

/** What `run` gives back: a stream passes through as a metered one. */
export type Metered<T> = T extends AsyncIterable<infer Chunk> ? AsyncIterableIterator<Chunk> : T;

/**
 * Judges model calls before they go out and keeps their money: each call sets aside its worst case, in one atomic step over
 * every limit that applies, and settles to its real cost afterwards.
 */
export class PolicyEngine {
  readonly #parts: Parts;
  readonly #rules: readonly PlacedRule[];
  readonly #admission: Admission;
  readonly #closer: Closer;
  readonly #open: OpenCalls;
  readonly #operators: Operators;
  readonly #advice: MemoryAdvice;
  #extension: PolicyExtension | undefined;
  #closed = false;

  /** @throws ConfigError naming the option and its value. */
  constructor(given: PolicyEngineOptions) {
    const options = resolveOptions(given);
    const { clock, timeZone, reservation, storeTimeoutMs, leaseMs, maxCallMs } = options;
    const emitter = new Emitter<PolicyEvents>(options.onListenerError);
    const ledger = reading("store", options.store, () =>
      openLedger(options.store, { namespace: options.namespace, clock, timeoutMs: storeTimeoutMs }),
    );
    if (options.requireAtomicity === "all-processes" && ledger.atomicity !== "all-processes") {
      throw new ConfigError({
        field: "requireAtomicity",
        value: options.requireAtomicity,
        problem: `the store is atomic within one ${ledger.atomicity} only; a ledger atomic across all processes is needed`,
      });
    }
    if (ledger.atomicity === "process" && isShareable(options.store)) {
      adviseOnce(
        "DRIFTLOCK_PROCESS_ATOMIC",
        "Limits kept in this store hold exactly within one process; processes that share it can pass them together.",
      );
    }
    const guard = new LedgerGuard(clock, storeTimeoutMs, ({ operation, message }, id) =>
      emitter.emit("store-failed", () => (id === undefined ? { operation, message } : { operation, message, id })),
    );
    const room = WaitingRoom.of(ledger, clock);
    const prices = reading("prices", options.prices, () => new PriceBook(options.prices));
    const unknownPrice = typeof options.unknownModel === "object" ? priceOfUnknown(options.unknownModel) : undefined;
    const compiler = new ClaimCompiler(timeZone, reservation === "exact");
    this.#parts = {
      options,
      clock,
      ledger,
      guard,
      room,
      emitter,
      prices,
      unknownPrice,
      compiler,
      control: new Control(),
      outage: new Outage(options.onStoreFailure),
      assertOpen: () => this.#refuseClosed(),
    };
    this.#rules = placed(options.rules, options.mode === "shadow");
    this.#open = new OpenCalls(ledger, guard, clock, leaseMs, maxCallMs);
    this.#admission = new Admission(this.#parts);
    this.#closer = new Closer(this.#parts, (call) => this.#open.delete(call));
    this.#operators = new Operators(this.#parts);
    this.#advice = new MemoryAdvice(options.store);
  }

  /** Labels the policy counts by: those its rules' scopes and `track` name. Adapters look for them in their host's metadata. */
  get labelNames(): readonly string[] {
    const scopes = this.#rules.map(({ rule: { scope } }) =>
      scope === "user" ? USER_LABEL : typeof scope === "object" ? scope?.label : undefined,
    );
    return [...new Set([...scopes, ...this.#parts.options.track])].filter((name) => name !== undefined);
  }

  /** The ledger behind the policy; `ledger.atomicity` says how far limits are exact. */
  get ledger(): Ledger {
    return this.#parts.ledger;
  }

  /** What packages build on that bring rules with a memory of their own, as missions do. Applications need none of it. */
  get extension(): PolicyExtension {
    return (this.#extension ??= extensionOf(this.#parts, () => this.#closed));
  }

  /**
   * Judges a call and sets its worst case aside. Send `auth.request`, then `auth.settle(usage)`, or `auth.release()` when it was
   * never sent. `ambient` replaces the surrounding `withAmbient` block where no async context reaches.
   * @throws PolicyViolationError when a rule refuses; ConfigError for bad input; StoreError; DuplicateCallError;
   *   AccountLimitError. Nothing is held then.
   */
  async authorize(request: GovernedRequest, options?: { ambient?: Ambient }): Promise<Authorization> {
    const call = this.#call(request, options && reading("ambient", options, () => options.ambient));
    const admitted = await this.#admission.admit(call);
    const watch = afterClose(this.#parts, admitted);
    this.#advice.admitted(admitted.demand);
    const { candidate, n } = admitted;
    const auth = new Authorization(
      this.#closer,
      openCallOf(call, admitted),
      amend(call, admitted),
      candidate.context.now,
      watch,
    );
    this.#open.add(auth);
    this.#tellAdmitted(call, auth, candidate.sizing.assumed, setsMaximum(candidate, n), n);
    if (request.signal?.aborted) {
      await auth.release();
      request.signal.throwIfAborted();
    }
    return auth;
  }

  /**
   * Authorizes, calls, settles. Once there is an answer it is returned, whatever bookkeeping does; an async iterable is passed
   * through and settled at its end. `usageOf` finds the usage in an answer or in a chunk; default: OpenAI's `usage`.
   */
  async run<T>(
    request: GovernedRequest,
    call: (request: AmendedRequest) => T | PromiseLike<T>,
    usageOf?: (answer: T extends AsyncIterable<infer Chunk> ? Chunk : T) => UsageReport | undefined,
  ): Promise<Metered<T>> {
    checkFunction("call", call);
    checkFunction("usageOf", usageOf, true);
    const auth = await this.authorize(request);
    let answer: T;
    try {
      answer = await withAmbient({ insideCall: true }, () => call(auth.request));
    } catch (error) {
      await auth.fail(error);
      throw error;
    }
    const find = usageOf as ((answer: unknown) => UsageReport | undefined) | undefined;
    if (isAsyncIterable(answer)) return auth.meter(answer, find) as Metered<T>;
    const report =
      auth.call.fixed === true && find === undefined
        ? undefined
        : reportOf(answer, find, (error) => this.#closer.report(auth.id, error));
    await auth.settleQuietly(report);
    return answer as Metered<T>;
  }

  /** A dry run: every rule's verdict on the request. Nothing is held, nothing waits. */
  async evaluate(request: GovernedRequest): Promise<readonly Verdict[]> {
    return inspect(this.#parts, this.#call(request, undefined));
  }

  /** Where the limits of the policy's rules stand for calls with these labels. */
  async usage(options?: { labels?: Labels }): Promise<readonly UsageRow[]> {
    const labels = options && reading("labels", options, () => options.labels);
    return usageOfRules(
      this.#parts,
      this.#call({ operation: "usage", costUsd: 0, ...(labels === undefined ? {} : { labels }) }, undefined),
    );
  }

  /** Books spend without asking: a tool, an image, a call made elsewhere. Once per `id`, within a day at least. */
  async record(entry: SpendRecord): Promise<Receipt> {
    this.#refuseClosed();
    return record(this.#parts, this.#closer, this.#rules, entry);
  }

  /** Closes a call by its ticket, from any process. Without a usage it is charged at its bound. */
  async settle(ticket: string, usage?: UsageReport): Promise<Receipt> {
    const call = callOfTicket(ticket);
    const own = this.#open.find(call.id);
    // Ids are unique within a ledger: a ticket of another one closes its own call.
    if (own === undefined || own.call.hold.epoch !== call.hold.epoch) return this.#closer.settleTicket(call, usage);
    return own.settle(usage);
  }

  /** Refuses calls carrying all these labels (every call without labels), in every process at its next call. */
  async freeze(options: FreezeOptions): Promise<void> {
    await this.#operators.freeze(options);
  }

  /** Ends a freeze made with the same labels. */
  async thaw(options: Omit<FreezeOptions, "until">): Promise<void> {
    await this.#operators.thaw(options);
  }

  /** Raises (or with a negative amount lowers) a rule's money limit, in every process at its next call. */
  async adjust(ruleName: string, options: AdjustOptions): Promise<void> {
    await this.#operators.adjust(ruleName, options);
  }

  /** Begins again at zero after `StateLostError`. */
  async acceptLoss(): Promise<void> {
    await this.#parts.ledger.acceptLoss();
  }

  /** Listens; the answer stops it. Listeners cannot change a call. */
  on<Name extends PolicyEventName>(name: Name, listener: (event: PolicyEvents[Name]) => unknown): () => void {
    if (typeof name !== "string")
      throw new ConfigError({ field: "name", value: name, problem: "must be the name of an event" });
    checkFunction("listener", listener);
    return this.#parts.emitter.on(name, listener);
  }

  /** Waits until every close has reached the ledger, then stops renewing leases. Further calls are a `ConfigError`. */
  async close(): Promise<void> {
    this.#closed = true;
    const { guard, ledger, options } = this.#parts;
    const lost = await guard.drain(Math.max(5_000, 4 * options.storeTimeoutMs));
    if (lost > 0)
      process.emitWarning(`${lost} closes never reached the store; their holds end with the lease`, {
        code: "DRIFTLOCK_UNSETTLED",
      });
    this.#open.stop();
    if (typeof options.store !== "object") await ledger.close();
  }

  #call(request: GovernedRequest, ambient: Ambient | undefined): Call {
    this.#refuseClosed();
    return new Call(
      this.#parts,
      this.#rules,
      readRequest(request),
      ambient === undefined ? undefined : readAmbient(ambient),
    );
  }

  #refuseClosed(): void {
    if (this.#closed)
      throw new ConfigError({ field: "policy", value: "closed", problem: "was closed; make a new PolicyEngine" });
  }

  #tellAdmitted(call: Call, auth: Authorization, assumed: boolean, amended: boolean, maxOutputTokens: number): void {
    const { emitter } = this.#parts;
    const { id, model, labels } = auth.call;
    emitter.emit("call-reserved", () => ({ id, model, labels, heldUsd: auth.heldUsd, maxOutputTokens, assumed }));
    if (model === call.model && !amended) return;
    const own = call.request.operation === undefined ? call.request.maxOutputTokens : undefined;
    const from = own === undefined ? { model: call.model } : { model: call.model, maxOutputTokens: own };
    emitter.emit("call-amended", () => ({ id, model, labels, from, maxOutputTokens }));
  }
}

function priceOfUnknown(price: Price): PriceMatch {
  const { maxOutputTokens, contextWindow } = price;
  return {
    kind: "override",
    price: compilePrice(price, "unknownModel"),
    source: "unknownModel",
    model: "*",
    drifting: false,
    ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
    ...(contextWindow === undefined ? {} : { contextWindow }),
  };
}

/** The usage in an answer. None, or a `usageOf` that throws, must not cost the caller the answer: the call is settled at its bound. */
function reportOf(
  answer: unknown,
  usageOf: ((answer: unknown) => UsageReport | undefined) | undefined,
  report: (error: UsageError) => void,
): UsageReport | undefined {
  let problem = "the answer carries none; say where it is with usageOf";
  try {
    const found =
      usageOf === undefined
        ? usageFromOpenAI((answer as { usage?: unknown } | null | undefined)?.usage)
        : atOnce("usageOf", usageOf(answer));
    if (found !== undefined && found !== null) return found;
  } catch (error) {
    problem = `usageOf threw: ${messageOf(error)}`;
  }
  report(new UsageError({ field: "usage", value: undefined, problem }));
  return undefined;
}
