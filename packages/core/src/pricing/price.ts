import { costToNano, PICO_PER_NANO } from "../domain/money.js";
import { type Usage, usageProblem } from "../domain/usage.js";
import { ConfigError } from "../errors/config-error.js";

/** A price as you write it: USD per million tokens, as on a provider's price page. 0 means free of charge. */
export interface Price {
  readonly inputUsdPerMTok: number;
  readonly outputUsdPerMTok: number;
  /** Default: the input price, which no provider exceeds. */
  readonly cacheReadUsdPerMTok?: number;
  /** Default: the input price. Give it where writing costs more: 1.25× input on current GPT and Claude, 2× for an hour. */
  readonly cacheWriteUsdPerMTok?: number;
  /** The most output tokens the model gives in one answer, where the catalogue does not know the model. */
  readonly maxOutputTokens?: number;
  /** The most tokens the model reads and writes in one call, where the catalogue does not know the model. */
  readonly contextWindow?: number;
}

/**
 * pico-USD per token (1 USD per million tokens = 1,000,000) for requests of more than `above` input tokens. Integers. A kind
 * the price list does not name carries the price of plain input or output.
 */
export interface Rates {
  /** The tier begins above this number of input tokens; −1 for the base. Tiers are cliffs: the whole request pays the tier. */
  readonly above: number;
  /** pico-USD for the request itself, whatever its tokens. */
  readonly request: number;
  readonly input: number;
  readonly output: number;
  readonly reasoning: number;
  readonly cacheRead: number;
  /** Cached reads of audio or images. */
  readonly cacheReadMedia: number;
  readonly cacheWrite: number;
  /** Writes to a cache kept for an hour (Anthropic `ttl: "1h"`, 2× input). */
  readonly cacheWriteHour: number;
  readonly audio: number;
  readonly image: number;
  readonly video: number;
}

/** What a prompt contains beside text, as `promptBound` found it. An absent kind is known not to be there. */
export interface PromptKinds {
  readonly audio?: boolean;
  readonly image?: boolean;
  readonly video?: boolean;
  /** It asks for cache entries of an hour. */
  readonly hourCache?: boolean;
}

interface Charge {
  readonly above: number;
  readonly request: number;
  readonly input: number;
  readonly output: number;
  readonly reasoning: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
}

interface Ceiling {
  readonly above: number;
  readonly request: number;
  readonly input: number;
  readonly output: number;
}

/** A price compiled to integers, once per model. */
export interface TokenPrice {
  /** What a call pays, by ascending tier. */
  readonly charges: readonly Charge[];
  /** The dearest a call can pay, by tier: peak hours and price changes within a day included. */
  readonly ceilings: readonly Ceiling[];
  /** The list behind it: what applies now, and everything that may apply until the call is settled. */
  readonly rates: readonly Rates[];
  readonly worst: readonly Rates[];
}

/** The worst case of a call in pico-USD: `fixed + perToken × output tokens`. */
export interface Bound {
  readonly fixed: number;
  readonly perToken: number;
}

/** Compiles rates (ascending by `above`, the first −1) to a price for a prompt whose kinds are not known. */
export function tokenPrice(rates: readonly Rates[], worst: readonly Rates[] = rates): TokenPrice {
  return {
    rates,
    worst,
    charges: rates.map((rate) => charge(rate)),
    ceilings: worst.map((rate) => ceiling(rate)),
  };
}

/** For texts: no prompt kind but plain text. */
const NO_KINDS: PromptKinds = {};

function charge(rate: Rates, kinds: PromptKinds = NO_KINDS): Charge {
  const { above, request, output, reasoning } = rate;
  const media = kinds.audio || kinds.image || kinds.video;
  return {
    above,
    request,
    output,
    reasoning,
    input: dearestInput(rate, kinds),
    cacheRead: media ? Math.max(rate.cacheRead, rate.cacheReadMedia) : rate.cacheRead,
    cacheWrite: kinds.hourCache ? rate.cacheWriteHour : rate.cacheWrite,
  };
}

const ALL_KINDS: PromptKinds = { audio: true, image: true, video: true, hourCache: true };

function ceiling(rate: Rates, kinds: PromptKinds = ALL_KINDS): Ceiling {
  const { input, cacheRead, cacheWrite } = charge(rate, kinds);
  return {
    above: rate.above,
    request: rate.request,
    input: Math.max(input, cacheRead, cacheWrite, rate.cacheWrite),
    output: Math.max(rate.output, rate.reasoning),
  };
}

function dearestInput(rate: Rates, kinds: PromptKinds): number {
  return Math.max(rate.input, kinds.audio ? rate.audio : 0, kinds.image ? rate.image : 0, kinds.video ? rate.video : 0);
}

const narrowed = new WeakMap<TokenPrice, (TokenPrice | undefined)[]>();

/**
 * The price for a prompt whose kinds are known. Without it the bound assumes audio, images, video and one-hour cache writes,
 * which a text does not pay for, and the cost assumes none. With a dearer kind in the prompt all its input pays that kind's
 * price: a usage does not say how many tokens were audio.
 */
export function priceFor(price: TokenPrice, kinds: PromptKinds): TokenPrice {
  const mask = (kinds.audio ? 1 : 0) + (kinds.image ? 2 : 0) + (kinds.video ? 4 : 0) + (kinds.hourCache ? 8 : 0);
  let known = narrowed.get(price);
  if (known === undefined) narrowed.set(price, (known = []));
  return (known[mask] ??= {
    ...price,
    charges: price.rates.map((rate) => charge(rate, kinds)),
    ceilings: price.worst.map((rate) => ceiling(rate, kinds)),
  });
}

/**
 * What a call cost, in nano-USD: summed exactly in pico-USD, rounded up once. The provider's own `usage.costUsd` wins. A usage
 * that cannot be true (`usageProblem`) throws `ConfigError`: check it before. A cost above $9 M, which a double does not hold
 * exactly, comes back as `Number.MAX_SAFE_INTEGER`.
 */
export function costOf(price: TokenPrice, usage: Usage): number {
  if (usage.costUsd !== undefined) return costToNano(usage.costUsd);
  const { inputTokens, outputTokens, cacheReadTokens = 0, cacheWriteTokens = 0, reasoningTokens = 0 } = usage;
  const rate = chargeAt(price, inputTokens);
  const plain = inputTokens - cacheReadTokens - cacheWriteTokens;
  const answer = outputTokens - reasoningTokens;
  const pico =
    plain * rate.input +
    cacheReadTokens * rate.cacheRead +
    cacheWriteTokens * rate.cacheWrite +
    answer * rate.output +
    reasoningTokens * rate.reasoning +
    rate.request;
  // When no term is negative, a sum this small had only exact terms. Everything else takes the long way.
  const sound = plain >= 0 && cacheReadTokens >= 0 && cacheWriteTokens >= 0 && answer >= 0 && reasoningTokens >= 0;
  return sound && Number.isSafeInteger(pico) ? nanoUp(pico) : exactCost(price, usage);
}

/** `costOf` in BigInt: the same number for every usage, without a limit. */
export function exactCost(price: TokenPrice, usage: Usage): number {
  const problem = usageProblem(usage);
  if (problem !== undefined) throw new ConfigError(problem);
  const { inputTokens, outputTokens, cacheReadTokens = 0, cacheWriteTokens = 0, reasoningTokens = 0 } = usage;
  const rate = chargeAt(price, inputTokens);
  const pico =
    BigInt(inputTokens - cacheReadTokens - cacheWriteTokens) * BigInt(rate.input) +
    BigInt(cacheReadTokens) * BigInt(rate.cacheRead) +
    BigInt(cacheWriteTokens) * BigInt(rate.cacheWrite) +
    BigInt(outputTokens - reasoningTokens) * BigInt(rate.output) +
    BigInt(reasoningTokens) * BigInt(rate.reasoning) +
    BigInt(rate.request);
  return bigNanoUp(pico);
}

function chargeAt(price: TokenPrice, inputTokens: number): Charge {
  const { charges } = price;
  let rate = charges[0]!;
  for (let tier = 1; tier < charges.length; tier++) {
    const next = charges[tier]!;
    if (inputTokens > next.above) rate = next;
  }
  return rate;
}

/**
 * The worst case of a request of at most `inputTokens` input tokens (a whole number from 0): every token at the dearest
 * input, cache and modality price, output at the dearest output or reasoning price, of every tier the request may reach.
 */
export function boundOf(price: TokenPrice, inputTokens: number): Bound {
  if (!Number.isSafeInteger(inputTokens) || inputTokens < 0) {
    throw new ConfigError({
      field: "inputTokens",
      value: inputTokens,
      problem: "must be a whole number of tokens ≥ 0",
    });
  }
  let request = 0;
  let input = 0;
  let output = 0;
  for (const tier of price.ceilings) {
    if (inputTokens <= tier.above) continue;
    if (tier.request > request) request = tier.request;
    if (tier.input > input) input = tier.input;
    if (tier.output > output) output = tier.output;
  }
  const fixed = inputTokens * input + request;
  // Above 2^53 a double rounds: take the next larger one, so that the bound is never under.
  return { fixed: Number.isSafeInteger(fixed) ? fixed : fixed * (1 + 2 * Number.EPSILON), perToken: output };
}

/** A bound in nano-USD for a number of output tokens, rounded up once; at most the largest exact integer of a double. */
export function boundCost(bound: Bound, outputTokens: number): number {
  const pico = bound.fixed + bound.perToken * outputTokens;
  if (Number.isSafeInteger(pico)) return nanoUp(pico);
  return bigNanoUp(BigInt(Math.ceil(bound.fixed)) + BigInt(bound.perToken) * BigInt(Math.ceil(outputTokens)));
}

/** Whether no call can cost anything: such a call makes no money claim. */
export function isFree(price: TokenPrice): boolean {
  return price.ceilings.every(({ request, input, output }) => request === 0 && input === 0 && output === 0);
}

/** By remainder, not by division: 9e15 / 1000 has no room left for the fraction that decides. */
function nanoUp(pico: number): number {
  const rest = pico % PICO_PER_NANO;
  return (pico - rest) / PICO_PER_NANO + (rest > 0 ? 1 : 0);
}

function bigNanoUp(pico: bigint): number {
  const nano = (pico + 999n) / 1000n;
  return nano > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(nano);
}
