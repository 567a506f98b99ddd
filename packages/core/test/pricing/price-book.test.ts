import { describe, expect, test } from "vitest";
import { ConfigError } from "../../src/errors/config-error.js";
import { costOf, isFree, priceFor } from "../../src/pricing/price.js";
import { PriceBook, type PricesOptions } from "../../src/pricing/price-book.js";

const at = Date.parse("2026-10-01T12:00:00Z");
const own = { inputUsdPerMTok: 7, outputUsdPerMTok: 7 };
const perMTok = (book: PriceBook, model: string, provider?: string) => {
  const match = book.lookup(model, provider, at);
  return match && costOf(match.price, { inputTokens: 1_000_000, outputTokens: 0 }) / 1e9;
};

describe("the chain: overrides, then what is free, then the catalogue, then nothing", () => {
  test("an override wins over the catalogue and over free", () => {
    const book = new PriceBook({ overrides: { "gpt-4o": own }, free: ["gpt-4o"] });
    expect(book.lookup("gpt-4o", undefined, at)).toMatchObject({
      kind: "override",
      source: "prices.overrides",
      model: "gpt-4o",
    });
    expect(perMTok(book, "gpt-4o")).toBe(7);
    expect(perMTok(book, "gpt-4o-mini")).toBe(0.15);
  });

  test("an override prices its dated variants, and no other model whose name begins so", () => {
    const book = new PriceBook({ overrides: { "gpt-5": own, "acme-large": own } });
    expect(book.lookup("gpt-5-2025-08-07", undefined, at)).toMatchObject({ kind: "override-prefix", model: "gpt-5" });
    expect(perMTok(book, "acme-large-20260101")).toBe(7);
    expect(perMTok(book, "gpt-5-mini")).toBe(0.25);
    expect(perMTok(book, "gpt-5-pro")).toBe(15);
    expect(perMTok(book, "acme-large-v2")).toBeUndefined();
    expect(perMTok(book, "gpt-5:batch")).toBeUndefined();
  });

  test("an exact override comes before a longer or shorter prefix; of prefixes the longest applies", () => {
    const book = new PriceBook({
      overrides: {
        "acme-": { ...own, inputUsdPerMTok: 1 },
        "acme-large": { ...own, inputUsdPerMTok: 2 },
        "acme-large-2026-01-01": { ...own, inputUsdPerMTok: 3 },
        "acme-large-turbo-": { ...own, inputUsdPerMTok: 4 },
      },
    });
    const models = [
      "acme-small",
      "acme-large",
      "acme-large-2026-02-02",
      "acme-large-2026-01-01",
      "acme-large-turbo-9",
      "acme",
    ];
    expect(models.map((model) => perMTok(book, model))).toEqual([1, 2, 2, 3, 4, undefined]);
  });

  test("a fine-tune's override prices its runs", () => {
    const book = new PriceBook({ overrides: { "ft:gpt-4o": own } });
    expect(perMTok(book, "ft:gpt-4o-2024-08-06:acme::BxYz")).toBe(7);
    expect(perMTok(book, "ft:gpt-4o:acme::BxYz")).toBe(7);
    expect(perMTok(book, "ft:gpt-4o-mini-2024-07-18:acme::BxYz")).toBeUndefined();
  });

  test("provider/model prices a model at one provider: an Azure deployment", () => {
    const book = new PriceBook({ overrides: { "azure/chat": own } });
    expect(perMTok(book, "chat", "azure")).toBe(7);
    expect(perMTok(book, "chat", "openai")).toBeUndefined();
    expect(perMTok(book, "azure/chat")).toBe(7);
  });

  test("case and surrounding space do not matter", () => {
    expect(perMTok(new PriceBook({ overrides: { " My-Model": own } }), "my-model ")).toBe(7);
  });

  test("an override knows its window and its output maximum, else the catalogue's", () => {
    const book = new PriceBook({
      overrides: { "gpt-4o": own, mine: { ...own, contextWindow: 8_000, maxOutputTokens: 1_000 } },
    });
    expect(book.lookup("gpt-4o", undefined, at)).toMatchObject({ contextWindow: 128_000 });
    expect(book.lookup("mine", undefined, at)).toMatchObject({ contextWindow: 8_000, maxOutputTokens: 1_000 });
    expect(book.lookup("gpt-4o", "openai", at)).not.toHaveProperty("maxOutputTokens");
  });

  test("a free provider's models cost nothing, and so does a free model", () => {
    const book = new PriceBook({ free: ["ollama", "my-llama"] });
    for (const [model, provider] of [
      ["llama3.2:3b", "ollama"],
      ["ollama/llama3", undefined],
      ["my-llama", undefined],
      ["my-llama:latest", "vllm"],
    ] as const) {
      const match = book.lookup(model, provider, at)!;
      expect(match).toMatchObject({ kind: "free", source: "prices.free" });
      const all = { audio: true, image: true, video: true, hourCache: true };
      for (const price of [match.price, priceFor(match.price, all)]) {
        expect(isFree(price)).toBe(true);
        const used = {
          inputTokens: 90,
          outputTokens: 90,
          cacheReadTokens: 30,
          cacheWriteTokens: 30,
          reasoningTokens: 30,
        };
        expect(costOf(price, used)).toBe(0);
      }
    }
    expect(book.lookup("my-llama-70b", undefined, at)).toBeUndefined();
    expect(book.lookup("gpt-4o", undefined, at)!.kind).toBe("catalogue");
  });

  test("an unknown model has no price: nothing is guessed and nothing costs 0", () => {
    expect(new PriceBook().lookup("no-such-model", undefined, at)).toBeUndefined();
    expect(new PriceBook().lookup("llama3", "ollama", at)).toBeUndefined();
  });

  test("an override of 0 is a price: the user says so", () => {
    const match = new PriceBook({ overrides: { mine: { inputUsdPerMTok: 0, outputUsdPerMTok: 0 } } }).lookup(
      "mine",
      undefined,
      at,
    )!;
    expect(isFree(match.price)).toBe(true);
  });

  test("names that drift are flagged, whatever priced them", () => {
    const book = new PriceBook({ overrides: { "acme-latest": own } });
    expect(book.lookup("acme-latest", undefined, at)!.drifting).toBe(true);
    expect(book.lookup("chatgpt-4o-latest", "openai", at)!.drifting).toBe(true);
    expect(book.lookup("gpt-4o", undefined, at)!.drifting).toBe(false);
  });
});

describe("lookup never throws and answers the same again", () => {
  test("whatever it is asked", () => {
    const book = new PriceBook({ overrides: { x: own } });
    const odd = [
      undefined,
      null,
      3,
      {},
      [],
      Symbol("x"),
      "",
      " ",
      "\ud800",
      "__proto__",
      "constructor",
      "toString",
      "a/b/c/",
      "/",
      "ft:",
    ];
    for (const model of odd) {
      for (const provider of [undefined, null, 7, "", "__proto__", "a".repeat(9_999), "x.y.z"]) {
        for (const time of [at, Number.NaN, Infinity, -1e18, 0]) {
          expect(() => book.lookup(model as string, provider as string, time)).not.toThrow();
        }
      }
    }
    expect(book.lookup("constructor", undefined, at)).toBeUndefined();
    expect(book.lookup("gpt-4o", null as unknown as undefined, at)?.model).toBe("gpt-4o");
  });

  test("a remembered answer is the same object, for each provider and span of time its own", () => {
    const book = new PriceBook();
    const first = book.lookup("gpt-5.6-sol", undefined, at);
    expect(book.lookup("gpt-5.6-sol", undefined, at + 1)).toBe(first);
    const earlier = book.lookup("gpt-5.6-sol", undefined, Date.parse("2026-07-01"));
    expect(earlier).not.toBe(first);
    expect(book.lookup("gpt-5.6-sol", undefined, at)).toBe(first);
    expect(book.lookup("gpt-5.6-sol", undefined, Date.parse("2026-07-01"))).toBe(earlier);
    expect(book.lookup("gpt-5.6-sol", "azure", at)).toBeUndefined();
  });

  test("thousands of invented names push each other out of memory, and known ones stay right", () => {
    const book = new PriceBook();
    const first = book.lookup("gpt-4o", undefined, at);
    for (let name = 0; name < 3_000; name++) book.lookup(`invented-${name}`, undefined, at);
    expect(book.lookup("gpt-4o", undefined, at)).toBe(first);
    for (let name = 3_000; name < 6_000; name++) book.lookup(`invented-${name}`, undefined, at);
    const again = book.lookup("gpt-4o", undefined, at);
    expect(again).not.toBe(first);
    expect(again).toEqual(first);
    book.lookup("o3", undefined, at);
    expect(book.lookup("gpt-4o", undefined, at)).toBe(again);
    for (let name = 0; name < 3_000; name++) book.lookup(`other-${name}`, undefined, at);
    expect(book.lookup("gpt-4o", undefined, at)).not.toBe(again);
  });

  test("a name longer than any is unknown, as model and as provider", () => {
    const name = "x".repeat(500);
    const book = new PriceBook({ overrides: { [name]: own, [`${name}${name}`]: own, "acme-": own } });
    expect(perMTok(book, name)).toBe(7);
    expect(perMTok(book, name + name)).toBeUndefined();
    expect(perMTok(book, "acme-1", name)).toBe(7);
    expect(perMTok(book, "acme-1", name + name)).toBeUndefined();
  });

  test("an answer holds until the moment its price turns, and from the moment the next begins", () => {
    const book = new PriceBook();
    const turn = Date.parse("2025-06-10T00:00:00Z");
    const input = (time: number) => book.lookup("o3", undefined, time)!.price.charges[0]!.input;
    for (const order of [
      [-1, 0, 1],
      [1, 0, -1],
    ]) {
      expect(order.map((ms) => input(turn + ms))).toEqual(order.map((ms) => (ms < 0 ? 10_000_000 : 2_000_000)));
    }
    expect(book.lookup("o3", undefined, turn)).toMatchObject({ contextWindow: 200_000 });
    expect(book.lookup("gemini-2.5-pro", undefined, turn)).not.toHaveProperty("contextWindow");
  });
});

describe("wrong options fail at construction, by name and value", () => {
  const wrong: [name: string, options: unknown, field: string][] = [
    ["not an object", 7, "prices"],
    ["overrides as a list", { overrides: [own] }, "prices.overrides"],
    ["overrides as a Map", { overrides: new Map([["gpt-4o", own]]) }, "prices.overrides"],
    ["overrides as text", { overrides: "gpt-4o" }, "prices.overrides"],
    ["a price that is a number", { overrides: { "gpt-4o": 3 } }, "prices.overrides['gpt-4o']"],
    ["a price that is a list", { overrides: { "gpt-4o": [1, 2] } }, "prices.overrides['gpt-4o']"],
    ["null", { overrides: { "gpt-4o": null } }, "prices.overrides['gpt-4o']"],
    [
      "a missing price",
      { overrides: { "gpt-4o": { inputUsdPerMTok: 1 } } },
      "prices.overrides['gpt-4o'].outputUsdPerMTok",
    ],
    [
      "a price as text",
      { overrides: { "gpt-4o": { ...own, inputUsdPerMTok: "1" } } },
      "prices.overrides['gpt-4o'].inputUsdPerMTok",
    ],
    [
      "NaN",
      { overrides: { "gpt-4o": { ...own, inputUsdPerMTok: Number.NaN } } },
      "prices.overrides['gpt-4o'].inputUsdPerMTok",
    ],
    [
      "a negative price",
      { overrides: { x: { ...own, outputUsdPerMTok: -1 } } },
      "prices.overrides['x'].outputUsdPerMTok",
    ],
    [
      "an infinite price",
      { overrides: { x: { ...own, cacheReadUsdPerMTok: Infinity } } },
      "prices.overrides['x'].cacheReadUsdPerMTok",
    ],
    [
      "an absurd price",
      { overrides: { x: { ...own, cacheWriteUsdPerMTok: 100_001 } } },
      "prices.overrides['x'].cacheWriteUsdPerMTok",
    ],
    [
      "a null price",
      { overrides: { x: { ...own, cacheWriteUsdPerMTok: null } } },
      "prices.overrides['x'].cacheWriteUsdPerMTok",
    ],
    [
      "a misspelt field",
      { overrides: { x: { ...own, cacheReadUsdPerMtok: 1 } } },
      "prices.overrides['x'].cacheReadUsdPerMtok",
    ],
    ["a window of 0", { overrides: { x: { ...own, contextWindow: 0 } } }, "prices.overrides['x'].contextWindow"],
    ["an empty name", { overrides: { " ": own } }, "prices.overrides[' ']"],
    ["a name twice", { overrides: { "gpt-4o": own, "GPT-4o": own } }, "prices.overrides['GPT-4o']"],
    ["free as text, which iterates by letter", { free: "ollama" }, "prices.free"],
    ["free with a number", { free: [3] }, "prices.free"],
    ["free with an empty name", { free: [""] }, "prices.free"],
  ];
  test.each(wrong)("%s", (_, options, field) => {
    const build = () => new PriceBook(options as PricesOptions);
    expect(build).toThrow(ConfigError);
    expect(build).toThrow(expect.objectContaining({ field }));
  });

  test("undefined options are options not given", () => {
    expect(() => new PriceBook({ overrides: undefined, free: undefined } as PricesOptions)).not.toThrow();
    const overrides = { x: { ...own, cacheReadUsdPerMTok: undefined } };
    expect(perMTok(new PriceBook({ overrides } as unknown as PricesOptions), "x")).toBe(7);
  });

  test("__proto__ and constructor are names like any other", () => {
    const overrides = JSON.parse(
      '{ "__proto__": { "inputUsdPerMTok": 7, "outputUsdPerMTok": 7 } }',
    ) as PricesOptions["overrides"];
    const book = new PriceBook({ overrides: overrides! });
    expect(perMTok(book, "__proto__")).toBe(7);
    expect(perMTok(book, "constructor")).toBeUndefined();
    const bare = Object.assign(Object.create(null) as object, { mine: own });
    expect(perMTok(new PriceBook({ overrides: bare }), "mine")).toBe(7);
  });
});
