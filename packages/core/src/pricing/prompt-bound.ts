import { ConfigError } from "../errors/config-error.js";
import { Uncountable, jsonBound } from "./json-size.js";
import type { PromptKinds } from "./price.js";
import { type Tally, addCacheControl, addContent, addMessage, hide } from "./prompt-content.js";
import { OVERHEAD, PER_PREDEFINED_TOOL, familyOf } from "./prompt-media.js";
import { textCounter } from "./text-size.js";
import type { Tokenizer } from "./tokenizer.js";

/** A request, as far as its prompt is concerned. */
export interface PromptRequest {
  /** Decides what is added around messages, tools and images. Without it, the dearest of all families is assumed. */
  readonly model?: string;
  readonly messages?: readonly unknown[];
  readonly tools?: readonly unknown[];
  readonly params?: Readonly<Record<string, unknown>>;
}

export interface PromptBound {
  /** The prompt has at most this many tokens, as far as the request shows it. */
  readonly tokens: number;
  /** It refers to input it does not show (a stored prompt, a file, search results): bound it by the context window, or refuse. */
  readonly hidden: boolean;
  /** What is in it beside text, for `priceFor`. */
  readonly kinds: PromptKinds;
}

/**
 * A bound of a prompt's tokens that is never under the truth: UTF-8 bytes (of the text or of its NFKC form) or a tokenizer's
 * count, plus what providers add around messages and tools, plus documented maxima for images and audio. Base64 is never
 * counted as text. Texts are remembered, not messages: a message changed in place is counted anew.
 *
 * @throws ConfigError naming the field when a message, tool or parameter cannot be read or sent as JSON.
 */
export function promptBound(request: PromptRequest, tokenizer?: Tokenizer): PromptBound {
  const { model, messages, tools, params } = request;
  const family = familyOf(model);
  const tally: Tally = {
    model,
    family,
    count: textCounter(tokenizer),
    tokens: OVERHEAD[family].request,
    hidden: false,
    audio: false,
    image: false,
    video: false,
    hourCache: false,
  };
  addMessages(tally, messages, "messages");
  addTools(tally, tools, "tools");
  if (params !== undefined && params !== null) addParams(tally, params);
  const { tokens, hidden, audio, image, video, hourCache } = tally;
  return { tokens, hidden, kinds: { audio, image, video, hourCache } };
}

function addMessages(tally: Tally, messages: unknown, field: string): void {
  if (messages === undefined || messages === null) return;
  const at = { key: "" };
  forEach(messages, field, at, (message) => addMessage(tally, asObject(message), at));
}

function addTools(tally: Tally, tools: unknown, field: string): void {
  if (tools === undefined || tools === null) return;
  const { tools: once, tool: each } = OVERHEAD[tally.family];
  let any = false;
  forEach(tools, field, { key: "" }, (value) => {
    const tool = asObject(value);
    tally.tokens += each + jsonBound(tool, tally.count) + (any ? 0 : once);
    any = true;
    addCacheControl(tally, tool["cache_control"]);
    switch (kindOfTool(tool)) {
      case "shown":
        break;
      case "predefined":
        tally.tokens += PER_PREDEFINED_TOOL;
        break;
      case "hosted":
        hide(tally);
        break;
    }
  });
}

/** Whether a tool is shown in full, known to the model by name, or run by the provider, whose results join the prompt. */
function kindOfTool(tool: Record<string, unknown>): "shown" | "predefined" | "hosted" {
  const { type } = tool;
  if (typeof type === "string" && type !== "function" && type !== "custom") {
    return /^(?:bash|text_editor|computer|memory)_\d+$/.test(type) ? "predefined" : "hosted";
  }
  const shown = ["function", "name", "functionDeclarations", "function_declarations", "toolSpec"];
  return shown.some((key) => key in tool) ? "shown" : "hosted";
}

/** Parameters that never reach the prompt. */
const SILENT = new Set(
  (
    "metadata user safety_identifier prompt_cache_key service_tier logit_bias stop stop_sequences stream_options modalities " +
    "include headers extra_headers signal timeout callbacks httpAgent fetch"
  ).split(" "),
);
/** Parameters that bring in what the request does not show. */
const HIDING = new Set(
  (
    "previous_response_id conversation container mcp_servers web_search_options search_parameters data_sources plugins " +
    "file_ids vector_store_ids tool_resources assistant_id thread_id cachedContent cached_content"
  ).split(" "),
);
const MESSAGES = new Set(["messages", "input", "contents"]);
const CONTENT = new Set(["system", "instructions", "prompt", "input", "suffix", "preamble"]);
const TOOLS = new Set(["tools", "functions"]);

function addParams(tally: Tally, params: Readonly<Record<string, unknown>>): void {
  let key = "";
  try {
    for (key of Object.keys(params)) addParam(tally, key, params[key]);
  } catch (cause) {
    throw unusable(`params.${key}`, () => params[key], cause);
  }
}

function addParam(tally: Tally, key: string, value: unknown): void {
  if (value === undefined || value === null || value === false || SILENT.has(key)) return;
  if (key === "cache_control") return addCacheControl(tally, value);
  if (HIDING.has(key) || (key === "prompt" && typeof value === "object" && !Array.isArray(value))) hide(tally);
  if (MESSAGES.has(key) && Array.isArray(value)) return addMessages(tally, value, `params.${key}`);
  if (TOOLS.has(key)) return addTools(tally, value, `params.${key}`);
  if (key === "system" || (typeof value === "string" && CONTENT.has(key))) return addContent(tally, value);
  // Numbers and switches steer the model and are not read by it; anything with text may be (response formats, predictions).
  if (typeof value === "string" || typeof value === "object") tally.tokens += jsonBound(value, tally.count) + PER_PARAM;
  else if (typeof value === "bigint") throw new Uncountable("is a BigInt, which JSON cannot carry");
}

/** Instructions a provider adds for a parameter, such as how to follow a schema. */
const PER_PARAM = 32;

function forEach(list: unknown, field: string, at: { key: string }, add: (element: unknown) => void): void {
  if (!Array.isArray(list)) throw unusable(field, () => list, new Uncountable("must be a list"));
  for (let index = 0; index < list.length; index++) {
    at.key = "";
    try {
      add(list[index]);
    } catch (cause) {
      const read = () => (at.key === "" ? list[index] : (list[index] as Record<string, unknown>)[at.key]);
      throw unusable(`${field}[${index}]${at.key && `.${at.key}`}`, read, cause);
    }
  }
}

function asObject(value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  throw new Uncountable("must be an object");
}

/** The error for a field. It never holds prompt text: of the value only its shape is kept. */
function unusable(field: string, read: () => unknown, cause: unknown): ConfigError {
  if (ConfigError.isInstance(cause)) return cause;
  const value = shapeOf(read);
  if (cause instanceof Uncountable) return new ConfigError({ field, value, problem: cause.message });
  return new ConfigError({ field, value, problem: "cannot be read", cause });
}

/** An empty text, object or list for one with content, the name of its type for what cannot be shown, else the value. */
function shapeOf(read: () => unknown): unknown {
  try {
    const value = read();
    if (typeof value === "string") return "";
    if (typeof value === "function" || typeof value === "symbol") return typeof value;
    return typeof value === "object" && value !== null ? (Array.isArray(value) ? [] : {}) : value;
  } catch {
    // The getter that made the message unusable.
    return undefined;
  }
}
