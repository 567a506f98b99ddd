import { ConfigError } from "../errors/config-error.js";
import { type Price, type Rates, type TokenPrice, tokenPrice } from "./price.js";

/** USD per million tokens above which a price is a mistake; the dearest model listed costs $600. */
const MAX_USD_PER_MTOK = 100_000;

const required = ["inputUsdPerMTok", "outputUsdPerMTok"] as const;
const optional = ["cacheReadUsdPerMTok", "cacheWriteUsdPerMTok"] as const;
const counts = ["maxOutputTokens", "contextWindow"] as const;
const fields: readonly string[] = [...required, ...optional, ...counts];

/**
 * Integer pico-USD per token. Rounded up where a price has more digits, after float noise is removed: 0.0028 × 1e6 is
 * 2799.9999999999995 in floating point.
 */
export function picoPerToken(usdPerMTok: number): number {
  const pico = usdPerMTok * 1_000_000;
  const nearest = Math.round(pico);
  return Math.abs(pico - nearest) <= 1e-6 + pico * 1e-15 ? nearest : Math.ceil(pico);
}

/** Throws `ConfigError` unless `value` is a `Price`. `field` is how the option is called: `prices.overrides['gpt-4o']`. */
export function checkPrice(value: unknown, field: string): asserts value is Price {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConfigError({ field, value, problem: "must be an object { inputUsdPerMTok, outputUsdPerMTok, … }" });
  }
  const price = value as Record<string, unknown>;
  for (const name of Object.keys(price)) {
    if (!fields.includes(name)) {
      throw new ConfigError({
        field: `${field}.${name}`,
        value: price[name],
        problem: `is not one of ${fields.join(", ")}`,
      });
    }
  }
  for (const name of [...required, ...optional]) {
    const usd = price[name];
    if (usd === undefined && (optional as readonly string[]).includes(name)) continue;
    if (typeof usd !== "number" || !(usd >= 0 && usd <= MAX_USD_PER_MTOK)) {
      const problem = `must be a number of USD per million tokens from 0 to ${MAX_USD_PER_MTOK.toLocaleString("en-US")}`;
      throw new ConfigError({ field: `${field}.${name}`, value: usd, problem });
    }
  }
  for (const name of counts) {
    const count = price[name];
    if (count !== undefined && !(Number.isSafeInteger(count) && (count as number) > 0)) {
      throw new ConfigError({
        field: `${field}.${name}`,
        value: count,
        problem: "must be a whole number of tokens > 0",
      });
    }
  }
}

/** Checks a price and compiles it; `field` as in `checkPrice`. */
export function compilePrice(value: unknown, field: string): TokenPrice {
  checkPrice(value, field);
  const input = picoPerToken(value.inputUsdPerMTok);
  const output = picoPerToken(value.outputUsdPerMTok);
  const cacheRead = picoPerToken(value.cacheReadUsdPerMTok ?? value.inputUsdPerMTok);
  const cacheWrite = picoPerToken(value.cacheWriteUsdPerMTok ?? value.inputUsdPerMTok);
  const rates: Rates = {
    above: -1,
    request: 0,
    input,
    output,
    reasoning: output,
    cacheRead,
    cacheReadMedia: cacheRead,
    cacheWrite,
    cacheWriteHour: cacheWrite,
    audio: input,
    image: input,
    video: input,
  };
  return tokenPrice([rates]);
}
