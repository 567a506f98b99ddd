import { findProvider, type MatchLogic, type ModelInfo, type Provider } from "@pydantic/genai-prices";
import { isBedrockName, isVariantOf, modelKey } from "../domain/model-name.js";

/** The release of `@pydantic/genai-prices` the prices come from; a test holds it to the installed one. */
export const CATALOGUE_VERSION = "0.1.8";

/** The library cannot list its providers synchronously, so their ids stand here; a test holds them to its data. */
export const PROVIDER_IDS = (
  "anthropic arcee avian aws azure baseten cerebras cloudflare cohere cursor deepseek doubleword fireworks github-copilot " +
  "google groq huggingface_cerebras huggingface_fireworks-ai huggingface_groq huggingface_hyperbolic huggingface_nebius " +
  "huggingface_novita huggingface_nscale huggingface_ovhcloud huggingface_publicai huggingface_sambanova " +
  "huggingface_together minimax mistral modal moonshotai novita openai openrouter ovhcloud perplexity quicksilverpro " +
  "together typesafe voyageai x-ai zai zhipuai"
).split(" ");

/** A model the library lists, and the provider whose list it is. */
export interface Listed {
  readonly provider: string;
  readonly model: ModelInfo;
}

/**
 * The library's data as they are when first asked for. Later `updatePrices` calls, which change the library for the whole
 * process, change nothing here: a book's prices do not move under it.
 */
let snapshot: readonly Provider[] | undefined;

function providers(): readonly Provider[] {
  return (snapshot ??= PROVIDER_IDS.map((providerId) => findProvider({ providerId })).filter(
    (found) => found !== undefined,
  ));
}

/**
 * The model the library lists under this name, or `undefined`. The name itself, a dated variant of it that the library's
 * matcher accepts too, or an alias it spells out; never merely the beginning of another name, which is how the library
 * prices `claude-sonnet-5-5` as `claude-sonnet-5`.
 */
export function findListed(model: string, provider: string | undefined): Listed | undefined {
  const key = modelKey(model);
  const seller = provider === undefined ? sellerOf(key) : providerNamed(provider);
  if (seller === undefined) return undefined;
  const found = inList(seller, key);
  if (found === undefined || (provider === undefined && key.includes("/") && isDearerElsewhere(key, found)))
    return undefined;
  return found;
}

function inList(provider: Provider, key: string): Listed | undefined {
  for (const name of writings(provider, key)) {
    const model = modelNamed(provider, name);
    if (model !== undefined) return { provider: provider.id, model };
  }
  for (const id of fallbacks(provider)) {
    const found = inList(providerNamed(id)!, key);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The listed model with the longest name that `name` is, or is a version of, among those the library's matcher accepts. */
function modelNamed(provider: Provider, name: string): ModelInfo | undefined {
  let best: ModelInfo | undefined;
  let length = 0;
  for (const model of provider.models) {
    if (!matches(model.match, name)) continue;
    for (const listed of [model.id, ...literals(model.match)]) {
      if (listed.length > length && isVariantOf(name, listed)) [best, length] = [model, listed.length];
    }
  }
  return best;
}

/** One id, as the provider's list may write it: in full, without the path before it, with its date dashed. */
function writings(provider: Provider, key: string): ReadonlySet<string> {
  const names = [key];
  const short = /^(?:arn:aws[\w-]*:bedrock:.*|(?:projects\/.+\/)?(?:publishers\/[^/]+\/)?models)\/([^/]+)$/.exec(
    key,
  )?.[1];
  if (short !== undefined) names.push(short);
  const slash = key.indexOf("/");
  if (slash > 0 && providerNamed(key.slice(0, slash)) === provider) names.push(key.slice(slash + 1));
  return new Set([...names, ...names.map((name) => name.replace(/-(20\d\d)([01]\d)([0-3]\d)$/, "-$1-$2-$3"))]);
}

/** Vertex sells Anthropic's models at Anthropic's prices. Azure's deployments are named freely, so their names prove nothing. */
function fallbacks(provider: Provider): readonly string[] {
  return provider.id === "azure" ? [] : (provider.fallback_model_providers ?? []);
}

/** A host's name decides before the maker's: `azure_openai` and `amazon_bedrock.anthropic` are billed by the host. */
const hosts: readonly (readonly [RegExp, string])[] = [
  [/azure/, "azure"],
  [/bedrock|amazon|^aws/, "aws"],
  [/vertex/, "google"],
];

function providerNamed(name: string): Provider | undefined {
  const key = modelKey(name);
  const host = hosts.find(([shape]) => shape.test(key))?.[1];
  const all = providers();
  return (
    all.find(({ id }) => id === (host ?? key)) ??
    // "openai-compatible" is anybody's server, not OpenAI's.
    (key.includes("compatible") ? undefined : all.find(({ provider_match: rule }) => rule && matches(rule, key))) ??
    // The AI SDK's "groq.chat".
    (key.includes(".") ? providerNamed(key.slice(0, key.indexOf("."))) : undefined)
  );
}

/** Without a provider: the one a path names (`groq/…`), Bedrock for its ids, else the maker whose names look like this. */
function sellerOf(key: string): Provider | undefined {
  const slash = key.indexOf("/");
  const host = slash > 0 ? providerNamed(key.slice(0, slash)) : undefined;
  if (host !== undefined) return host;
  const name = key.slice(key.lastIndexOf("/") + 1);
  if (isBedrockName(name)) return providerNamed("aws");
  const makerOf = (id: string) => providers().find(({ model_match: rule }) => rule && matches(rule, id));
  return makerOf(key) ?? makerOf(name);
}

/** Whether some host lists this very path at a higher base price: then nobody knows who will bill (`openai/gpt-oss-120b`). */
function isDearerElsewhere(key: string, { model }: Listed): boolean {
  return providers().some((provider) => {
    const other = modelNamed(provider, key);
    return (
      other !== undefined && ["input_mtok", "output_mtok"].some((price) => base(other, price) > base(model, price))
    );
  });
}

function base(model: ModelInfo, key: string): number {
  const latest = Array.isArray(model.prices) ? model.prices.at(-1)?.prices : model.prices;
  const price = latest?.[key];
  return typeof price === "object" ? price.base : (price ?? 0);
}

/** The names a matcher spells out, in full or in part. */
function literals(rule: MatchLogic): readonly string[] {
  if ("or" in rule) return rule.or.flatMap(literals);
  if ("and" in rule) return rule.and.flatMap(literals);
  return "regex" in rule ? [] : (Object.values(rule) as string[]);
}

/** The library's own matching, which it does not export. `text` is lower case. */
function matches(rule: MatchLogic, text: string): boolean {
  if ("or" in rule) return rule.or.some((part) => matches(part, text));
  if ("and" in rule) return rule.and.every((part) => matches(part, text));
  if ("equals" in rule) return text === rule.equals.toLowerCase();
  if ("starts_with" in rule) return text.startsWith(rule.starts_with.toLowerCase());
  if ("ends_with" in rule) return text.endsWith(rule.ends_with.toLowerCase());
  if ("contains" in rule) return text.includes(rule.contains.toLowerCase());
  return new RegExp(rule.regex).test(text);
}
