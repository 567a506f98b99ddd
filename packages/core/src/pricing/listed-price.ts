import type { ConditionalPrice, ModelInfo, ModelPrice } from "@pydantic/genai-prices";
import { picoPerToken } from "./compile-price.js";
import { type Rates, type TokenPrice, tokenPrice } from "./price.js";

/** A listed price and the span it holds for, ms since the epoch: from ≤ t < until. */
export interface DatedPrice {
  readonly from: number;
  readonly until: number;
  /** `undefined`: no price the library states in USD per token; 0 counts as none. */
  readonly price: TokenPrice | undefined;
}

const DAY = 86_400_000;

/**
 * How far a bound looks ahead: a call sent now is settled within a day, perhaps at the price of another hour or of tomorrow
 * (providers change prices at midnight of a zone the library does not know).
 */
const AHEAD = DAY;

/** The price of a listed model at a time, with the ceiling of everything that may apply within a day. */
export function listedPrice(model: ModelInfo, at: number): DatedPrice {
  const { id, prices } = model;
  if (!Array.isArray(prices)) return { from: -Infinity, until: Infinity, price: compile(id, [prices], [prices]) };
  let from = -Infinity;
  let until = Infinity;
  for (const moment of turns(prices, at)) {
    if (moment <= at) from = Math.max(from, moment);
    else until = Math.min(until, moment);
  }
  return { from, until, price: compile(id, [current(prices, at)], possible(prices, at)) };
}

/** Moments near `at` where the price or its ceiling turns. */
function turns(prices: readonly ConditionalPrice[], at: number): readonly number[] {
  const midnight = Math.floor(at / DAY) * DAY;
  return prices.flatMap(({ constraint }) => {
    if (constraint === undefined) return [];
    if (constraint.type === "start_date") {
      const start = Date.parse(constraint.start_date);
      return [start - AHEAD, start];
    }
    const { start_time: start, end_time: end } = constraint;
    return [-DAY, 0, DAY].flatMap((day) => [midnight + day + timeOfDay(start), midnight + day + timeOfDay(end)]);
  });
}

/** The library's rule: the last entry whose condition holds, else the first. */
function current(prices: readonly ConditionalPrice[], at: number): ModelPrice {
  return (prices.findLast(({ constraint }) => holds(constraint, at)) ?? prices[0]!).prices;
}

/** Every entry the library may choose from `at` on, within the look-ahead. */
function possible(prices: readonly ConditionalPrice[], at: number): readonly ModelPrice[] {
  const dated = prices.filter(({ constraint }) => constraint?.type !== "time_of_date");
  const found = new Set(prices.filter((entry) => !dated.includes(entry)).map((entry) => entry.prices));
  if (dated.length > 0) found.add(current(dated, at));
  for (const { constraint, prices: listed } of dated) {
    const start = constraint?.type === "start_date" ? Date.parse(constraint.start_date) : undefined;
    if (start !== undefined && start > at && start <= at + AHEAD) found.add(listed);
  }
  return [...found];
}

function holds(constraint: ConditionalPrice["constraint"], at: number): boolean {
  if (constraint === undefined) return true;
  if (constraint.type === "start_date") return at >= Date.parse(constraint.start_date);
  const now = ((at % DAY) + DAY) % DAY;
  const start = timeOfDay(constraint.start_time);
  const end = timeOfDay(constraint.end_time);
  return end < start ? now >= start || now < end : now >= start && now < end;
}

/** ms after midnight UTC of the library's `00:30:00Z` or `08:30:00+08:00`. */
function timeOfDay(text: string): number {
  return ((Date.parse(`1970-01-01T${text}`) % DAY) + DAY) % DAY;
}

function compile(id: string, now: readonly [ModelPrice], worst: readonly ModelPrice[]): TokenPrice | undefined {
  // gpt-4o-audio-preview is listed with its text prices alone: a sixteenth of what its speech costs.
  if (/\baudio\b/.test(id) && !Object.keys(now[0]).some((key) => key.includes("audio"))) return undefined;
  const rates = ratesOf(now[0]);
  const ceilings = worst.map(ratesOf);
  if (rates === undefined || ceilings.includes(undefined)) return undefined;
  return tokenPrice(
    rates,
    ceilings.flatMap((list) => list!),
  );
}

/** The tiers of one price list, or `undefined` without a price of text tokens. */
function ratesOf(listed: ModelPrice): readonly Rates[] | undefined {
  const starts = new Set([-1]);
  for (const price of Object.values(listed)) {
    if (typeof price === "object") for (const { start } of price.tiers) starts.add(start);
  }
  const tiers = [...starts].sort((a, b) => a - b).map((above) => ratesAbove(listed, above));
  return tiers.every(({ input, output }) => input > 0 && output > 0) ? tiers : undefined;
}

function ratesAbove(listed: ModelPrice, above: number): Rates {
  /** A kind without a price of its own pays the kind it belongs to. */
  const at = (key: string, parent: number) => {
    const price = listed[`${key}_mtok`];
    if (price === undefined) return parent;
    if (typeof price === "number") return picoPerToken(price);
    const tier = [...price.tiers].sort((a, b) => a.start - b.start).findLast(({ start }) => start <= above);
    return picoPerToken(tier?.price ?? price.base);
  };
  const input = at("input", 0);
  // An embedding model lists no output: should it ever report some, they cost what input costs.
  const output = at("output", input);
  const cacheRead = at("cache_read", input);
  const cacheWrite = at("cache_write", input);
  const { requests_kcount: fee } = listed;
  return {
    above,
    // USD per 1,000 requests → pico-USD a request: × 1e12 / 1e3.
    request: typeof fee === "number" ? picoPerToken(fee * 1_000) : 0,
    input,
    // A usage does not say which output tokens were speech or image. Models that list such a price exist for it: all pay it.
    output: Math.max(output, at("output_audio", 0), at("output_image", 0), at("output_video", 0)),
    reasoning: at("output_reasoning", output),
    cacheRead,
    cacheReadMedia: Math.max(cacheRead, at("cache_audio_read", 0), at("cache_image_read", 0)),
    cacheWrite,
    cacheWriteHour: at("cache_write_1h", cacheWrite),
    audio: at("input_audio", input),
    image: at("input_image", input),
    video: at("input_video", input),
  };
}
