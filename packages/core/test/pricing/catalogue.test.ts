import { readFileSync } from "node:fs";
import { type ModelInfo, type Provider, calcPrice, updatePrices, waitForUpdate } from "@pydantic/genai-prices";
import { describe, expect, test, vi } from "vitest";
import { CATALOGUE_VERSION, PROVIDER_IDS, findListed } from "../../src/pricing/catalogue.js";
import { costOf } from "../../src/pricing/price.js";
import { PriceBook } from "../../src/pricing/price-book.js";

// Slow machines are slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

const at = Date.parse("2026-10-01T12:00:00Z");
const book = new PriceBook();
const providers = (await waitForUpdate()) as readonly Provider[];

/** Every name a provider's list spells out in full. */
function namesOf(match: ModelInfo["match"]): readonly string[] {
  if ("or" in match) return match.or.flatMap(namesOf);
  return "equals" in match ? [match.equals] : [];
}
const listed = providers.flatMap((provider) =>
  provider.models.flatMap((model) => namesOf(model.match).map((name) => ({ provider: provider.id, name }))),
);

describe("the catalogue is the library's", () => {
  test("the version the book reports is the installed one", () => {
    const manifest = new URL("../package.json", import.meta.resolve("@pydantic/genai-prices"));
    expect(CATALOGUE_VERSION).toBe((JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version);
  });

  test("every provider of its data is known by id", () => {
    expect([...PROVIDER_IDS].sort()).toEqual(providers.map(({ id }) => id).sort());
  });

  test("every name it lists costs what the library itself calculates", () => {
    const usages = [
      { input: 1_234, output: 567, read: 0, write: 0 },
      { input: 150_001, output: 89, read: 100_000, write: 20_000 },
      { input: 600_000, output: 1_001, read: 3, write: 4 },
    ];
    let compared = 0;
    for (const { provider, name } of listed) {
      const match = book.lookup(name, provider, at);
      if (match === undefined) continue;
      for (const { input, output, read, write } of usages) {
        const tokens = {
          input_tokens: input,
          output_tokens: output,
          cache_read_tokens: read,
          cache_write_tokens: write,
        };
        const theirs = calcPrice(tokens, name, { providerId: provider, timestamp: new Date(at) })!;
        const media = Object.keys(theirs.model_price).some((key) => /^output_(?:audio|image|video)_mtok$/.test(key));
        if (media || theirs.model.id !== match.model || theirs.model_price["output_mtok"] === undefined) continue;
        const ours = costOf(match.price, {
          inputTokens: input,
          outputTokens: output,
          cacheReadTokens: read,
          cacheWriteTokens: write,
        });
        const nano = theirs.total_price * 1e9;
        expect(ours, `${provider} ${name}`).toBeGreaterThanOrEqual(nano - 1e-9 * nano - 1e-6);
        // Prices of more digits than pico-USD are rounded up: under 1 pico-USD a token.
        expect(ours, `${provider} ${name}`).toBeLessThanOrEqual(nano + 1 + (input + output) / 1_000);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(4_000);
  });

  test("a model that makes speech, images or video pays their price for all its output", () => {
    const { price } = book.lookup("gemini-2.5-flash-image", "google", at)!;
    expect(costOf(price, { inputTokens: 0, outputTokens: 1_290 })).toBe(1_290 * 30_000);
  });
});

describe("a name costs what its own entry says, never what a similar one does", () => {
  test.each([
    // [asked, the entry that looks like it]
    ["gpt-5-mini", "gpt-5"],
    ["gpt-5-nano", "gpt-5"],
    ["gpt-5-pro", "gpt-5"],
    ["o1-pro", "o1"],
    ["o1-mini", "o1"],
    ["o3-pro", "o3"],
    ["gpt-4o-mini", "gpt-4o"],
    ["gpt-4.1-nano", "gpt-4.1"],
    ["gpt-4-turbo", "gpt-4"],
    ["gpt-4-32k", "gpt-4"],
    ["gpt-5.5-pro", "gpt-5.5"],
    ["claude-opus-5-5", "claude-opus-5"],
    ["claude-fable-5-1", "claude-fable-5"],
    ["gemini-2.5-flash-lite", "gemini-2.5-flash"],
  ])("%s is not priced as %s", (asked, similar) => {
    const usage = { inputTokens: 1_000, outputTokens: 1_000, cacheReadTokens: 1_000 };
    const [own, other] = [asked, similar].map((name) => book.lookup(name, undefined, at)!);
    expect(own!.model).toBe(asked);
    expect(costOf(own!.price, usage)).not.toBe(costOf(other!.price, usage));
  });

  test.each([
    ["claude-sonnet-5-5", undefined],
    ["claude-sonnet-5-turbo", undefined],
    ["claude-haiku-4-5-mini", undefined],
    ["gpt-4o-2024-12-31", undefined],
    ["gpt-5.7", undefined],
    ["gpt-7", undefined],
    ["gpt-5-nano-2", undefined],
    ["gemini-1.5-flash-8b", undefined],
    ["gemini-3.8-flash-lite", undefined],
    ["deepseek-r1-distill-llama-70b", undefined],
    ["deepseek-chat-pro", undefined],
    ["ft:gpt-4o-2024-08-06:acme::BxYz", undefined],
    ["gpt-4o", "azure"],
    ["my-deployment", "azure_openai"],
    ["gpt-4o", "openai-compatible"],
    ["gpt-4o", "my-gateway"],
    ["gpt-4o:free", undefined],
    ["llama3", "ollama"],
    ["", undefined],
    ["x".repeat(600), undefined],
  ])("%s (provider %s) has no price", (model, provider) => expect(book.lookup(model, provider, at)).toBeUndefined());

  test("a listed name with anything behind it but a date has no price, unless that is spelt out too", () => {
    const spelt = (match: object): string[] =>
      Object.values(match).flatMap((part: unknown) =>
        Array.isArray(part) ? (part as object[]).flatMap(spelt) : [String(part).toLowerCase()],
      );
    const known = new Set(
      providers.flatMap(({ models }) => models.flatMap(({ id, match }) => [id.toLowerCase(), ...spelt(match)])),
    );
    let refused = 0;
    for (const [index, { provider, name }] of listed.entries()) {
      const endings = ["-5", "-mini", "-pro", "-turbo", "x", ".5", "-lite", ":free", "-97-20250101", "-preview"];
      // Three of the ten for each name, every one of them for hundreds.
      for (const ending of [0, 3, 7].map((step) => endings[(index + step) % endings.length]!)) {
        const model = name.toLowerCase() + ending;
        if (known.has(model) || known.has(model.slice(model.lastIndexOf("/") + 1))) continue;
        expect(findListed(model, provider)?.model.id, `${provider} ${model}`).toBeUndefined();
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(5_000);
  });

  test.each(["whisper-1", "omni-moderation-latest", "gemma-3-27b-it"])(
    "%s, free or without a token price there, has no price",
    (name) =>
      expect(["openai", "google"].map((provider) => book.lookup(name, provider, at))).toEqual([undefined, undefined]),
  );

  test("a speech model listed without a price of speech has none", () => {
    expect(book.lookup("gpt-4o-audio-preview", "openai", at)).toBeUndefined();
    expect(book.lookup("openai/gpt-audio", "openrouter", at)).toBeUndefined();
    const spoken = book.lookup("gpt-audio", "openai", at)!.price;
    expect(costOf(spoken, { inputTokens: 0, outputTokens: 1_000 })).toBe(64_000_000);
  });

  test("a price of 0 is no price, for every entry of the library", () => {
    for (const { provider, name } of listed) {
      const match = book.lookup(name, provider, at);
      if (match === undefined) continue;
      const cost = (inputTokens: number, outputTokens: number) => costOf(match.price, { inputTokens, outputTokens });
      expect(cost(1_000_000, 0), `${provider} ${name}`).toBeGreaterThan(0);
      expect(cost(0, 1_000_000), `${provider} ${name}`).toBeGreaterThan(0);
    }
  });
});

describe("one model has many spellings", () => {
  test.each([
    ["GPT-4o", undefined, "openai", "gpt-4o"],
    ["openai/gpt-4o", undefined, "openai", "gpt-4o"],
    ["gpt-4o-20240806", undefined, "openai", "gpt-4o"],
    ["gpt-5.6", undefined, "openai", "gpt-5.6-sol"],
    ["gpt-6-sol-2026-09-01", undefined, "openai", "gpt-6-sol"],
    ["anthropic/claude-3.5-sonnet", undefined, "anthropic", "claude-3-5-sonnet"],
    ["claude-sonnet-4-20250514", undefined, "anthropic", "claude-sonnet-4-0"],
    ["claude-3-5-sonnet-latest", "anthropic.messages", "anthropic", "claude-3-5-sonnet"],
    ["models/gemini-2.5-pro", undefined, "google", "gemini-2.5-pro"],
    ["gemini-2.5-pro-preview-05-06", "google_genai", "google", "gemini-2.5-pro"],
    ["publishers/google/models/gemini-2.5-flash", "vertexai", "google", "gemini-2.5-flash"],
    ["claude-opus-4-1@20250805", "vertexai", "google", "claude-4-opus"],
    ["claude-haiku-4-5@20251001", "google_vertexai", "anthropic", "claude-haiku-4-5"],
    ["anthropic.claude-opus-4-6-v1", "bedrock", "aws", "regional.anthropic.claude-opus-4-6-v1:0"],
    ["us.anthropic.claude-opus-4-6-v1", undefined, "aws", "regional.anthropic.claude-opus-4-6-v1:0"],
    ["global.anthropic.claude-opus-4-6-v1", "amazon_bedrock", "aws", "global.anthropic.claude-opus-4-6-v1:0"],
    ["us.amazon.nova-lite-v1:0", undefined, "aws", "amazon.nova-lite-v1:0"],
    ["groq/llama-3.3-70b-versatile", undefined, "groq", "llama-3.3-70b-versatile"],
    ["llama-3.3-70b-versatile", "groq.chat", "groq", "llama-3.3-70b-versatile"],
    ["openai/gpt-oss-120b", "groq", "groq", "openai/gpt-oss-120b"],
    ["accounts/fireworks/models/deepseek-v3p2", undefined, "fireworks", "deepseek-v3p2"],
    ["grok-4.5-20260101", "xai", "x-ai", "grok-4.5"],
    ["mistral-large-latest", "mistralai", "mistral", "mistral-large"],
    ["deepseek-v4-flash-0731", undefined, "deepseek", "deepseek-v4-flash"],
    ["o1", "azure_openai", "azure", "o1"],
  ])("%s (provider %s) is %s %s", (model, provider, where, as) => {
    expect(book.lookup(model, provider, at)).toMatchObject({ provider: where, model: as });
  });

  test("an ARN is its model", () => {
    const arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-6-v1";
    expect(book.lookup(arn, undefined, at)?.model).toBe("regional.anthropic.claude-opus-4-6-v1:0");
    expect(
      book.lookup("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", undefined, at),
    ).toBeUndefined();
  });

  test("a path that another host lists at a higher price has none until the provider is named", () => {
    expect(book.lookup("openai/gpt-oss-120b", undefined, at)).toBeUndefined();
  });
});

describe("prices are a history", () => {
  const cost = (model: string, time: string) => {
    const usage = { inputTokens: 1_000_000, outputTokens: 1_000_000 };
    return costOf(book.lookup(model, undefined, Date.parse(time))!.price, usage) / 1e9;
  };
  const bound = (model: string, time: string) => book.lookup(model, undefined, Date.parse(time))!.price.ceilings;

  test("a call pays the price of its day, asked in any order", () => {
    expect(cost("o3", "2025-06-09T23:59:59Z")).toBe(50);
    expect(cost("o3", "2025-06-10T00:00:00Z")).toBe(10);
    expect(cost("o3", "2025-06-09T23:59:59Z")).toBe(50);
    expect(cost("gemini-3.8-flash", "2026-12-31T23:59:59Z")).toBe(4.5);
    expect(cost("gemini-3.8-flash", "2027-01-01T00:00:00Z")).toBe(9);
  });

  test("peak hours cost more, and a bound at any hour expects them", () => {
    expect(cost("deepseek-chat", "2026-10-01T00:29:59Z")).toBeCloseTo(0.685, 9);
    expect(cost("deepseek-chat", "2026-10-01T00:30:00Z")).toBeCloseTo(1.37, 9);
    expect(cost("deepseek-chat", "2026-10-01T16:30:00Z")).toBeCloseTo(0.685, 9);
    for (const hour of ["00:00", "03:00", "12:00", "20:00"]) {
      const dearest = Math.max(...bound("deepseek-chat", `2026-10-01T${hour}:00Z`).map(({ input }) => input));
      expect(dearest).toBe(270_000);
    }
  });

  test("a bound expects a price change of the next day, and not one of next week", () => {
    expect(bound("gemini-3.8-flash", "2026-12-31T12:00:00Z").map(({ output }) => output)).toContain(7_500_000);
    expect(bound("gemini-3.8-flash", "2026-12-24T12:00:00Z").map(({ output }) => output)).toEqual([3_750_000]);
  });
});

test("updatePrices of the library, global to the process, does not change a book", () => {
  updatePrices(({ setProviderData }: { setProviderData: (data: Provider[] | null) => void }) =>
    setProviderData([
      {
        id: "openai",
        name: "x",
        api_pattern: "x",
        models: [{ id: "gpt-4o", match: { equals: "gpt-4o" }, prices: { input_mtok: 9, output_mtok: 9 } }],
      },
    ]),
  );
  try {
    const { price } = new PriceBook().lookup("gpt-4o", "openai", at)!;
    expect(costOf(price, { inputTokens: 1_000, outputTokens: 0 })).toBe(2_500_000);
    expect(new PriceBook().lookup("claude-opus-5", undefined, at)).toBeDefined();
  } finally {
    updatePrices(({ setProviderData }: { setProviderData: (data: Provider[] | null) => void }) =>
      setProviderData([...providers]),
    );
  }
});
