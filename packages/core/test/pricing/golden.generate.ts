/**
 * Writes golden.json: what 56 current models cost for six usages, by exact fractions from the library's own data and matcher, without
 * any of our code. Run it after a bump of `@pydantic/genai-prices` and read the diff:
 *
 *   npx tsx packages/core/test/pricing/golden.generate.ts
 */
import { readFileSync, writeFileSync } from "node:fs";
import { type ModelPrice, calcPrice } from "@pydantic/genai-prices";

const AT = "2026-10-01T12:00:00Z";

const models: readonly (readonly [provider: string, ...models: string[]])[] = [
  [
    "openai",
    "gpt-4o",
    "gpt-4o-2024-05-13",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-5",
    "gpt-5-mini",
  ],
  [
    "openai",
    "gpt-5-nano",
    "gpt-5-pro",
    "gpt-5.1",
    "gpt-5.2",
    "gpt-5.4",
    "gpt-5.4-mini",
    "gpt-5.5",
    "gpt-5.5-pro",
    "gpt-5.6-sol",
  ],
  [
    "openai",
    "gpt-5.6-terra",
    "gpt-5.6-luna",
    "gpt-6-sol",
    "gpt-6-luna",
    "gpt-6-astra",
    "o1",
    "o1-pro",
    "o3",
    "o3-pro",
    "o4-mini",
  ],
  ["anthropic", "claude-opus-4-1-20250805", "claude-opus-4-5", "claude-opus-4-8", "claude-opus-5", "claude-opus-5-5"],
  [
    "anthropic",
    "claude-sonnet-4-20250514",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
    "claude-sonnet-5",
    "claude-haiku-4-5",
  ],
  ["anthropic", "claude-fable-5-1"],
  [
    "google",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-3.1-pro-preview",
    "gemini-3.8-flash",
  ],
  ["aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-lite-v1:0"],
  ["groq", "llama-3.3-70b-versatile", "openai/gpt-oss-120b"],
  ["mistral", "mistral-large-2512", "codestral-2508"],
  ["deepseek", "deepseek-v4-flash", "deepseek-v4-pro"],
  ["x-ai", "grok-4", "grok-4.6"],
  ["perplexity", "sonar-pro", "sonar-deep-research"],
  ["cohere", "command-r-plus-08-2024"],
];

const usages = {
  plain: { inputTokens: 1_000, outputTokens: 500 },
  tiny: { inputTokens: 1, outputTokens: 1 },
  cached: { inputTokens: 10_007, outputTokens: 200, cacheReadTokens: 8_001, cacheWriteTokens: 1_003 },
  reasoning: { inputTokens: 2_000, outputTokens: 3_001, reasoningTokens: 2_500 },
  edge: { inputTokens: 200_000, outputTokens: 100 },
  tiered: { inputTokens: 300_001, outputTokens: 1_234, cacheReadTokens: 100_000, reasoningTokens: 34 },
};

/** A decimal number as an integer of 1e-15. */
function exact(value: number): bigint {
  const [whole = "", fraction = ""] = value.toFixed(15).split(".");
  return BigInt(whole + fraction.padEnd(15, "0"));
}

/** 1e-15 USD per million tokens (or per thousand requests) for a request of `input` tokens. */
function priceOf(listed: ModelPrice, input: number, ...keys: string[]): bigint {
  const price = keys.map((key) => listed[key]).find((found) => found !== undefined);
  if (price === undefined) return 0n;
  if (typeof price === "number") return exact(price);
  let at = price.base;
  for (const { start, price: tier } of [...price.tiers].sort((a, b) => a.start - b.start)) if (input > start) at = tier;
  return exact(at);
}

function nano(listed: ModelPrice, usage: (typeof usages)[keyof typeof usages]): string {
  const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, reasoningTokens } = {
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    reasoningTokens: 0,
    ...usage,
  };
  const price = (...keys: string[]) => priceOf(listed, inputTokens, ...keys);
  const tokens =
    BigInt(inputTokens - cacheReadTokens - cacheWriteTokens) * price("input_mtok") +
    BigInt(cacheReadTokens) * price("cache_read_mtok", "input_mtok") +
    BigInt(cacheWriteTokens) * price("cache_write_mtok", "input_mtok") +
    BigInt(outputTokens - reasoningTokens) * price("output_mtok") +
    BigInt(reasoningTokens) * price("output_reasoning_mtok", "output_mtok");
  // 1e-15 USD per million tokens, 1e-9 USD wanted: 1e12. Requests are priced by the thousand: × 1,000 to the same unit.
  const total = tokens + price("requests_kcount") * 1_000n;
  const unit = 1_000_000_000_000n;
  return String((total + unit - 1n) / unit);
}

const rows = models.flatMap(([provider, ...names]) =>
  names.map((model) => {
    const found = calcPrice({}, model, { providerId: provider, timestamp: new Date(AT) });
    if (found === null) throw new Error(`${provider} does not list ${model}`);
    const costs = Object.entries(usages).map(
      ([name, usage]) => [name, Number(nano(found.model_price, usage))] as const,
    );
    return { provider, model, listedAs: found.model.id, nanoUsd: Object.fromEntries(costs) };
  }),
);
const manifest = new URL("../package.json", import.meta.resolve("@pydantic/genai-prices"));
const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
const golden = { source: "@pydantic/genai-prices", version, at: AT, usages, models: rows };
writeFileSync(new URL("golden.json", import.meta.url), `${JSON.stringify(golden, undefined, 2)}\n`);
console.log(`${rows.length} models × ${Object.keys(usages).length} usages`);
