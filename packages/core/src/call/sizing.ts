import { isReasoningModel } from "../domain/model-name.js";
import { costToNano, PICO_PER_NANO } from "../domain/money.js";
import type { GovernedRequest, ModelRequest } from "../domain/request.js";
import { MAX_TOKENS } from "../domain/usage.js";
import { ConfigError } from "../errors/config-error.js";
import { boundOf, priceFor, type PromptKinds, type TokenPrice } from "../pricing/price.js";
import type { PriceMatch } from "../pricing/price-book.js";
import { promptBound } from "../pricing/prompt-bound.js";
import type { Tokenizer } from "../pricing/tokenizer.js";

/** The options a call's size depends on; tokens. */
export interface SizingOptions {
  readonly defaultMaxOutputTokens?: number | undefined;
  readonly minOutputTokens?: number | undefined;
  readonly assumedOutputTokens: number;
  readonly clamp: boolean;
  readonly tokenizer?: Tokenizer | undefined;
  /** In shadow nothing of the request is changed, and nothing that cannot be bounded is refused. */
  readonly mode?: "enforce" | "shadow";
}

/** How large a call can get with one model. Output is granted in [floor, want]; cost = fixed + perToken × n, in pico-USD. */
export interface Sizing {
  readonly price: TokenPrice | undefined;
  /** What the prompt holds beside text; undefined where it was not shown. */
  readonly kinds: PromptKinds | undefined;
  readonly inputTokens: number;
  readonly want: number;
  readonly floor: number;
  readonly usd: { readonly fixed: number; readonly perToken: number };
  readonly tokens: { readonly fixed: number; readonly perToken: number };
  /** Nothing binds the output: the call can exceed what is held. */
  readonly assumed: boolean;
  /** The granted maximum has to be sent, or it would not bind. */
  readonly sendsMaximum: boolean;
}

const none = { fixed: 0, perToken: 0 };
const DEFAULT_OUTPUT = { plain: 4_096, reasoning: 16_384 };
const LEAST_OUTPUT = { plain: 256, reasoning: 4_096 };
/** Bounds are integers of pico-USD: above 2^53 ($9,007 for one call) they would not be exact. */
const MAX_PICO = Number.MAX_SAFE_INTEGER;

/** Bounds a request with a model. `match` is undefined for a model without a price that was let through. */
export function sizeOf(
  request: GovernedRequest,
  model: string,
  match: PriceMatch | undefined,
  options: SizingOptions,
): Sizing {
  if (request.operation !== undefined) {
    const usd = { fixed: costToNano(request.costUsd) * PICO_PER_NANO, perToken: 0 };
    return {
      price: undefined,
      kinds: undefined,
      inputTokens: 0,
      want: 0,
      floor: 0,
      usd,
      tokens: none,
      assumed: false,
      sendsMaximum: false,
    };
  }
  const { tokens: inputTokens, kinds } = inputBound(request, model, match, options);
  const choices = choicesOf(request);
  const kind = isReasoningModel(model) ? "reasoning" : "plain";
  const least = options.minOutputTokens ?? LEAST_OUTPUT[kind];
  const own = ownMaximum(request);
  const amendable = request.amendable !== false && options.mode !== "shadow";
  const usual = options.defaultMaxOutputTokens ?? DEFAULT_OUTPUT[kind];
  const want = own ?? (amendable ? Math.min(usual, match?.maxOutputTokens ?? Infinity) : options.assumedOutputTokens);
  const lowerable = amendable && (own === undefined || ((request.clamp ?? options.clamp) && !hasFixedShape(request)));
  const price = match && (kinds === undefined ? match.price : priceFor(match.price, kinds));
  const perCall = price === undefined ? none : boundOf(price, inputTokens);
  const usd = { fixed: perCall.fixed, perToken: perCall.perToken * choices };
  if (usd.fixed + usd.perToken * want > MAX_PICO) {
    throw new ConfigError({
      field: "maxOutputTokens",
      value: want,
      problem: `with ${inputTokens} input tokens of ${model} it bounds the call above $9,007`,
    });
  }
  return {
    price,
    kinds,
    inputTokens,
    want,
    floor: lowerable ? Math.min(want, least) : want,
    usd,
    tokens: { fixed: inputTokens, perToken: choices },
    assumed: own === undefined && !amendable,
    sendsMaximum: own === undefined && amendable,
  };
}

function inputBound(
  request: ModelRequest,
  model: string,
  match: PriceMatch | undefined,
  { tokenizer, mode }: SizingOptions,
): { tokens: number; kinds: PromptKinds | undefined } {
  const { messages, tools, params, inputTokens } = request;
  if (inputTokens !== undefined) return { tokens: wholeTokens("inputTokens", inputTokens), kinds: undefined };
  if (messages === undefined) {
    throw new ConfigError({
      field: "messages",
      value: undefined,
      problem: "give messages or inputTokens, so that the prompt can be bounded",
    });
  }
  const { tokens, hidden, kinds } = promptBound(
    { model, messages, ...(tools && { tools }), ...(params && { params }) },
    tokenizer,
  );
  if (!hidden || mode === "shadow") return { tokens, kinds };
  if (match?.contextWindow !== undefined) return { tokens: match.contextWindow, kinds };
  throw new ConfigError({
    field: "inputTokens",
    value: undefined,
    problem:
      "the request refers to input it does not show (a stored prompt, a previous response, a file); give a bound of it",
  });
}

/** The names under which a request carries its output maximum. */
export const maximums = ["max_completion_tokens", "max_tokens", "max_output_tokens"] as const;

/** The caller's maximum; of several the largest, because any of them may be the one that is sent. */
function ownMaximum({ maxOutputTokens, params }: ModelRequest): number | undefined {
  let own = maxOutputTokens === undefined ? undefined : wholeTokens("maxOutputTokens", maxOutputTokens);
  if (params === undefined) return own;
  for (const name of maximums) {
    const value = params[name];
    if (value !== undefined && value !== null) own = Math.max(own ?? 0, wholeTokens(`params.${name}`, value));
  }
  return own;
}

/** Answers asked for at once: each may have the whole output. */
function choicesOf({ params }: ModelRequest): number {
  const n = params?.["n"];
  if (n === undefined || n === null) return 1;
  if (Number.isInteger(n) && (n as number) >= 1 && (n as number) <= 1_000) return n as number;
  throw new ConfigError({ field: "params.n", value: n, problem: "must be a whole number from 1 to 1000" });
}

/** Structured output and forced tools are useless when cut short: their maximum is never lowered. */
function hasFixedShape({ params }: ModelRequest): boolean {
  if (params === undefined) return false;
  const choices = [params["tool_choice"], params["function_call"]];
  const formats = [params["response_format"], (params["text"] as { format?: unknown } | null | undefined)?.format];
  return (
    choices.some((choice) => (choice ?? "auto") !== "auto" && choice !== "none") ||
    formats.some((format) => ((format ?? { type: "text" }) as { type?: unknown }).type !== "text")
  );
}

function wholeTokens(field: string, value: unknown): number {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_TOKENS) return value as number;
  throw new ConfigError({ field, value, problem: `must be a whole number of tokens from 0 to ${MAX_TOKENS}` });
}
