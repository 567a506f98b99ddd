import { ConfigError } from "../errors/config-error.js";
import { CATALOGUE_VERSION, findListed } from "./catalogue.js";
import { compilePrice } from "./compile-price.js";
import { listedPrice } from "./listed-price.js";
import { isDrifting, isVariantOf, modelKey } from "../domain/model-name.js";
import { type Price, type TokenPrice, tokenPrice } from "./price.js";

export interface PricesOptions {
  /**
   * Your own prices by model id, asked first. A key prices its model and that model's dated variants; a key that ends in `-`,
   * `:`, `/` or `.` prices every id that begins with it; `provider/model` prices a model at one provider only. Default: none.
   */
  readonly overrides?: Readonly<Record<string, Price>>;
  /** Providers (`"ollama"`) and models that cost nothing. Default: none. */
  readonly free?: Iterable<string>;
}

/** What a model costs, and how that is known. */
export interface PriceMatch {
  readonly kind: "override" | "override-prefix" | "free" | "catalogue";
  readonly price: TokenPrice;
  /** Where the price stands: `prices.overrides`, `prices.free` or `genai-prices`. */
  readonly source: string;
  /** The source's version, where it has one. */
  readonly version?: string;
  /** The name under which the source lists it. */
  readonly model: string;
  /** The provider whose price list it is, where the source names one. */
  readonly provider?: string;
  /** The provider moves this name to newer models (`-latest`): its price may change without notice. */
  readonly drifting: boolean;
  /** The most output tokens of one answer, where known. */
  readonly maxOutputTokens?: number;
  /** Input and output tokens of one call, at most, where known. */
  readonly contextWindow?: number;
}

interface Override {
  readonly model: string;
  readonly price: TokenPrice;
  readonly listed: Price;
}

/** A remembered answer and the span of `at` it holds for. */
interface Answer {
  readonly from: number;
  readonly until: number;
  readonly match: PriceMatch | undefined;
}

/** Names remembered at most; then all are forgotten, so that invented names cannot fill the memory. */
const MAX_REMEMBERED = 4_096;
/** No provider's id is longer; a longer name is unknown and not remembered. */
const MAX_NAME_LENGTH = 512;

/**
 * What models cost. Asked in this order: your overrides (exact, then the longest that applies), what you call free, the
 * catalogue (`@pydantic/genai-prices`, bundled: nothing is fetched). A name none of them knows has no price: the book never
 * takes the nearest name's.
 */
export class PriceBook {
  readonly #overrides: ReadonlyMap<string, Override>;
  readonly #free: ReadonlySet<string>;
  readonly #remembered = new Map<string | undefined, Map<string, readonly Answer[]>>();
  #count = 0;

  /** @throws ConfigError naming the option when a price or a name cannot be right. */
  constructor(options: PricesOptions = {}) {
    if (typeof options !== "object" || options === null) {
      throw new ConfigError({ field: "prices", value: options, problem: "must be an object { overrides, free }" });
    }
    this.#overrides = readOverrides(options.overrides);
    this.#free = readFree(options.free);
  }

  /**
   * The price of a model at a time (ms since the epoch), or `undefined` when it is not known. Without a provider the maker's
   * list is meant, or the one an id names itself (`groq/…`, Bedrock ids). Never throws.
   */
  lookup(model: string, provider: string | undefined, at: number): PriceMatch | undefined {
    const known = this.#remembered.get(provider)?.get(model);
    if (known !== undefined) {
      for (const answer of known) if (answer.from <= at && at < answer.until) return answer.match;
    }
    return this.#find(model, provider, at, known ?? []);
  }

  #find(model: string, provider: string | undefined, at: number, known: readonly Answer[]): PriceMatch | undefined {
    if (typeof model !== "string" || model.length > MAX_NAME_LENGTH || !Number.isFinite(at)) return undefined;
    const where = typeof provider === "string" && provider.trim() !== "" ? provider : undefined;
    if (where !== undefined && where.length > MAX_NAME_LENGTH) return undefined;
    const answer = this.#ask(model, where, at);
    if (this.#count >= MAX_REMEMBERED) {
      this.#remembered.clear();
      this.#count = 0;
    }
    this.#count += 1;
    let names = this.#remembered.get(provider);
    if (names === undefined) this.#remembered.set(provider, (names = new Map()));
    // A few spans at most (today's hours, a price change), the one just asked for first.
    names.set(model, [answer, ...known.slice(0, 7)]);
    return answer.match;
  }

  #ask(model: string, provider: string | undefined, at: number): Answer {
    const own = this.#override(model, provider) ?? this.#freeOfCharge(model, provider);
    const listed = findListed(model, provider);
    const contextWindow = listed?.model.context_window;
    const always = { from: -Infinity, until: Infinity };
    if (own !== undefined) return { ...always, match: contextWindow === undefined ? own : { contextWindow, ...own } };
    if (listed === undefined) return { ...always, match: undefined };
    const { from, until, price } = listedPrice(listed.model, at);
    if (price === undefined) return { from, until, match: undefined };
    const match: PriceMatch = {
      kind: "catalogue",
      price,
      source: "genai-prices",
      version: CATALOGUE_VERSION,
      model: listed.model.id,
      provider: listed.provider,
      drifting: isDrifting(model),
      ...(contextWindow !== undefined && { contextWindow }),
    };
    return { from, until, match };
  }

  #override(model: string, provider: string | undefined): PriceMatch | undefined {
    const key = modelKey(model);
    const keys = provider === undefined ? [key] : [`${modelKey(provider)}/${key}`, key];
    for (const exact of keys) {
      const found = this.#overrides.get(exact);
      if (found !== undefined) return overridden("override", found, model);
    }
    let best: Override | undefined;
    for (const [name, override] of this.#overrides) {
      if (name.length > (best?.model.length ?? 0) && keys.some((id) => covers(name, id))) best = override;
    }
    return best && overridden("override-prefix", best, model);
  }

  #freeOfCharge(model: string, provider: string | undefined): PriceMatch | undefined {
    if (this.#free.size === 0) return undefined;
    const key = modelKey(model);
    const maker = provider === undefined ? key.slice(0, Math.max(0, key.indexOf("/"))) : modelKey(provider);
    const isFree = this.#free.has(maker) || [...this.#free].some((name) => covers(name, key));
    if (!isFree) return undefined;
    return { kind: "free", price: FREE, source: "prices.free", model, drifting: isDrifting(model) };
  }
}

const FREE = tokenPrice([
  {
    above: -1,
    request: 0,
    input: 0,
    output: 0,
    reasoning: 0,
    cacheRead: 0,
    cacheReadMedia: 0,
    cacheWrite: 0,
    cacheWriteHour: 0,
    audio: 0,
    image: 0,
    video: 0,
  },
]);

function overridden(
  kind: "override" | "override-prefix",
  { model, price, listed }: Override,
  asked: string,
): PriceMatch {
  const { maxOutputTokens, contextWindow } = listed;
  return {
    kind,
    price,
    source: "prices.overrides",
    model,
    drifting: isDrifting(asked),
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    ...(contextWindow !== undefined && { contextWindow }),
  };
}

/** Whether a key the user wrote means this id: the model's versions, a family that ends in a separator, a fine-tune's runs. */
function covers(name: string, id: string): boolean {
  if (/[-:/.]$/.test(name)) return id.startsWith(name);
  // `ft:gpt-4o-2024-08-06:acme::BxYz` is a run of the tuned `ft:gpt-4o`.
  const tuned = name.startsWith("ft:") ? /^ft:[^:]+/.exec(id)?.[0] : undefined;
  return isVariantOf(id, name) || (tuned !== undefined && (id.startsWith(`${name}:`) || isVariantOf(tuned, name)));
}

function readOverrides(overrides: unknown): ReadonlyMap<string, Override> {
  const read = new Map<string, Override>();
  if (overrides === undefined) return read;
  if (typeof overrides !== "object" || overrides === null || Symbol.iterator in overrides) {
    const problem = "must be an object of prices by model id";
    throw new ConfigError({ field: "prices.overrides", value: overrides, problem });
  }
  for (const [name, listed] of Object.entries(overrides)) {
    const field = `prices.overrides['${name}']`;
    const key = modelKey(name);
    if (key === "") throw new ConfigError({ field, value: name, problem: "must name a model" });
    if (read.has(key))
      throw new ConfigError({ field, value: name, problem: "names a model twice (case does not count)" });
    read.set(key, { model: key, price: compilePrice(listed, field), listed: listed as Price });
  }
  return read;
}

function readFree(free: unknown): ReadonlySet<string> {
  if (free === undefined) return new Set();
  if (typeof free !== "object" || free === null || !(Symbol.iterator in free)) {
    throw new ConfigError({
      field: "prices.free",
      value: free,
      problem: "must be a list of provider ids or model names",
    });
  }
  const names = new Set<string>();
  for (const name of free as Iterable<unknown>) {
    if (typeof name !== "string" || name.trim() === "") {
      throw new ConfigError({ field: "prices.free", value: name, problem: "must contain names only" });
    }
    names.add(modelKey(name));
  }
  return names;
}
