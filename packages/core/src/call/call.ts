import { currentAmbient, type Ambient } from "../ambient/ambient.js";
import type { Claim, Reading } from "../domain/claim.js";
import type { Context, Estimate } from "../domain/context.js";
import { mergeLabels, type Labels } from "../domain/labels.js";
import type { GovernedRequest } from "../domain/request.js";
import { UnknownModelError } from "../errors/policy-violation-error.js";
import { accountOf } from "../ledger/account.js";
import type { PlacedRule } from "../policy/decide.js";
import type { PriceMatch } from "../pricing/price-book.js";
import { CallCandidate } from "./candidate.js";
import { readingInUnits } from "./claims.js";
import type { Parts } from "./parts.js";
import { sizeOf } from "./sizing.js";

const nobody: readonly unknown[] = [];
const noParams: Readonly<Record<string, unknown>> = Object.freeze({});

/** Random for each process and copy of the package, then counted: as unique as a random id, at a fraction of its time. */
const origin = crypto.randomUUID().replaceAll("-", "");
let calls = 0;

function freshId(): string {
  return `${origin}-${++calls}`;
}

/** One call on its way in: the request with everything that surrounds it. */
export class Call {
  readonly id: string;
  /** The caller chose the id. */
  readonly named: boolean;
  /** Tells this call from another one with the same chosen id. */
  readonly attempt?: string;
  readonly request: GovernedRequest;
  readonly model: string;
  readonly labels: Labels;
  readonly rules: readonly PlacedRule[];
  readonly ambient: Partial<Ambient> | undefined;
  readonly #parts: Parts;

  constructor(
    parts: Parts,
    engineRules: readonly PlacedRule[],
    request: GovernedRequest,
    ambient: Partial<Ambient> | undefined,
  ) {
    this.#parts = parts;
    this.request = request;
    this.ambient = ambient ?? currentAmbient();
    this.named = request.id !== undefined;
    this.id = request.id ?? freshId();
    if (this.named) this.attempt = freshId();
    this.model = request.operation ?? request.model;
    this.labels = mergeLabels(parts.options.defaultLabels, this.ambient?.labels, request.labels);
    const around = this.ambient?.rules ?? none;
    this.rules = around.length === 0 ? engineRules : surrounded(engineRules, around, parts.options.mode === "shadow");
  }

  /** Waiting inside an open call could wait for that very call. */
  get mayWait(): boolean {
    return this.waitMs > 0 && this.ambient?.insideCall !== true;
  }

  get waitMs(): number {
    return this.request.waitMs ?? this.#parts.options.waitMs;
  }

  /** What the rules see of the call with `model`. Throws `UnknownModelError` without a price for it. */
  readonly candidateFor = (model: string): CallCandidate => {
    const { clock, options, compiler, control } = this.#parts;
    const now = clock.now();
    const match = this.request.operation === undefined ? this.#priceOf(model, now) : undefined;
    return new CallCandidate(
      sizeOf(this.request, model, match, options),
      compiler,
      (estimate) => this.#context(model, now, estimate),
      (ruleName) => control.addedTo(ruleName, this.labels, now),
    );
  };

  #priceOf(model: string, now: number): PriceMatch | undefined {
    const { prices, options, unknownPrice } = this.#parts;
    const { provider } = this.request;
    const match = prices.lookup(model, provider, now) ?? unknownPrice;
    if (match !== undefined || options.unknownModel === "allow" || options.mode === "shadow") return match;
    throw new UnknownModelError(model, provider);
  }

  #context(model: string, now: number, estimate: Estimate): Context {
    const { request, labels } = this;
    const mission = this.ambient?.mission;
    const context = {
      model,
      messages: request.operation === undefined ? (request.messages ?? nobody) : nobody,
      tools: request.operation === undefined ? (request.tools ?? nobody) : nobody,
      params: request.operation === undefined ? (request.params ?? noParams) : noParams,
      labels,
      endpoint: request.endpoint,
      provider: request.provider,
      now,
      estimate,
      ledger: { read: (claim: Claim) => readClaim(this.#parts, claim, labels) },
    };
    return mission === undefined ? context : { ...context, mission };
  }
}

const none: Ambient["rules"] = [];

/** The rules of a block are placed once for all its calls; by the engine's rules, then the block's. */
const blocks = new WeakMap<readonly PlacedRule[], WeakMap<Ambient["rules"], readonly PlacedRule[]>>();

function surrounded(
  engineRules: readonly PlacedRule[],
  around: Ambient["rules"],
  shadowAll: boolean,
): readonly PlacedRule[] {
  let of = blocks.get(engineRules);
  if (of === undefined) blocks.set(engineRules, (of = new WeakMap()));
  let rules = of.get(around);
  if (rules === undefined) of.set(around, (rules = [...engineRules, ...placed(around, shadowAll)]));
  return rules;
}

/** Rules with the mode that counts. */
export function placed(rules: Ambient["rules"], shadowAll: boolean): readonly PlacedRule[] {
  return rules.map((rule) => ({ rule, shadow: shadowAll || rule.mode === "shadow" }));
}

/** What a claim's meter shows for a call with these labels; nothing spent where the call lacks the label. */
async function readClaim({ compiler, guard, ledger }: Parts, claim: Claim, labels: Labels): Promise<Reading> {
  const account = accountOf(claim.scope, labels);
  if (account === undefined || claim.window === "request") return { settled: 0, held: 0 };
  const [reading] = await guard.ask("read", undefined, () => ledger.read([compiler.meter(claim, account)]));
  return readingInUnits(claim.measure, reading!);
}
