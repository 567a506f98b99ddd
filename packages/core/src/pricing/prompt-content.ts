import { Uncountable, jsonBound } from "./json-size.js";
import { type Family, PER_MESSAGE, audioBound, imageBound } from "./prompt-media.js";
import type { CountText } from "./text-size.js";

/** What was counted of a prompt so far. */
export interface Tally {
  readonly model: string | undefined;
  readonly family: Family;
  readonly count: CountText;
  tokens: number;
  /** The request refers to input it does not show. */
  hidden: boolean;
  audio: boolean;
  image: boolean;
  video: boolean;
  hourCache: boolean;
}

type Fields = Record<string, unknown>;

/** Content nested in content: a tool's result in a message, its parts, a document's parts. */
const MAX_NESTING = 16;
/** Around a part, an item or a field: separators and markers. */
const PER_PART = 8;

/** Counts everything a message, or an item of a Responses input, may put into the prompt. `at.key` names the field for errors. */
export function addMessage(tally: Tally, message: object, at: { key: string }, depth = 0): void {
  tally.tokens += PER_MESSAGE;
  const fields = message as Fields;
  const { type } = fields;
  if (typeof type === "string" && type !== "message" && !("role" in message)) return addPart(tally, fields, depth);
  for (const key in message) {
    at.key = key;
    const value = fields[key];
    if (typeof value === "string") tally.tokens += tally.count(value) + (key === "content" ? 0 : 2);
    else if (value === undefined || value === null) continue;
    else if (key === "content" || key === "parts") addContent(tally, value, depth);
    else if (key === "audio") hide(tally); // The id of an earlier answer's speech.
    else if (typeof value === "object") addDetail(tally, key, value);
    else if (typeof value === "bigint") throw new Uncountable("is a BigInt, which JSON cannot carry");
  }
}

/** Content: a text, one part, or a list of parts. */
export function addContent(tally: Tally, content: unknown, depth = 0): void {
  if (typeof content === "string") tally.tokens += tally.count(content);
  else if (content === null || content === undefined) return;
  else if (typeof content !== "object") throw new Uncountable("must be text, a list of parts or null");
  else if (depth > MAX_NESTING) throw new Uncountable("is circular or nested too deep");
  else if (!Array.isArray(content)) addPart(tally, content as Fields, depth);
  else {
    for (const part of content as unknown[]) {
      if (typeof part === "string") tally.tokens += tally.count(part) + PER_PART;
      else if (typeof part === "object" && part !== null) addPart(tally, part as Fields, depth);
      else throw new Uncountable("has a part that is neither text nor an object");
    }
  }
}

function addPart(tally: Tally, part: Fields, depth: number): void {
  tally.tokens += PER_PART;
  addCacheControl(tally, part["cache_control"] ?? part["cachePoint"]);
  switch (typeof part["type"] === "string" ? part["type"] : shapeOf(part)) {
    case "text":
    case "input_text":
    case "output_text":
    case "refusal":
    case "thinking":
    case "redacted_thinking":
    case "reasoning_text":
    case "summary_text":
    case "tool_use":
    case "server_tool_use":
    case "mcp_tool_use":
    case "tool_call":
    case "function":
    case "function_call":
    case "custom_tool_call":
      return addFields(tally, part);
    case "reasoning":
      // By its id alone, the provider fetches what it kept.
      if (part["id"] !== undefined && typeof part["encrypted_content"] !== "string") hide(tally);
      return addFields(tally, part);
    case "tool_result":
    case "function_call_output":
    case "custom_tool_call_output":
    case "search_result":
    case "message":
      return addResult(tally, part, depth);
    case "image":
    case "image_url":
    case "input_image":
      return addImage(tally, part);
    case "input_audio":
    case "audio":
      return addAudio(tally, part);
    case "document":
      return addDocument(tally, part, depth);
    case "data":
      return addData(tally, part);
    case "file":
    case "input_file":
    case "media":
    case "video":
    case "video_url":
    case "item_reference":
    case "container_upload":
      return hide(tally);
    default:
      // A kind made after this was written: its text counts, and it may refer to anything.
      hide(tally);
      return addFields(tally, part);
  }
}

/** Gemini's parts have no `type`. */
function shapeOf(part: Fields): string {
  if ("inlineData" in part) return "data";
  if ("fileData" in part) return "file";
  if ("text" in part || "functionCall" in part) return "text";
  return "functionResponse" in part || "toolUse" in part || "cachePoint" in part ? "function" : "";
}

function addFields(tally: Tally, part: Fields): void {
  for (const key of Object.keys(part)) {
    const value = part[key];
    if (key === "type" || key === "cache_control") continue;
    tally.tokens += (typeof value === "string" ? tally.count(value) : 0) + PER_PART;
    if (typeof value !== "string") tally.tokens += jsonBound(value, tally.count);
    // A call's arguments, as text that is JSON, may be written into the prompt as a quoted string.
    else if (key === "arguments" || key === "input") tally.tokens += jsonBound(value, tally.count);
  }
}

function addResult(tally: Tally, part: Fields, depth: number): void {
  const { content, output, ...rest } = part;
  addFields(tally, rest);
  for (const inner of [content, output]) {
    if (typeof inner === "object" && inner !== null && !Array.isArray(inner))
      tally.tokens += jsonBound(inner, tally.count);
    else addContent(tally, inner, depth + 1);
  }
}

function addImage(tally: Tally, part: Fields): void {
  const inner = part["image_url"];
  const detail =
    part["detail"] ?? (typeof inner === "object" && inner !== null ? (inner as Fields)["detail"] : undefined);
  tally.image = true;
  tally.tokens += imageBound(tally.family, tally.model, detail);
}

function addAudio(tally: Tally, part: Fields): void {
  const inner = (part["input_audio"] ?? part["source"] ?? part) as Fields;
  tally.audio = true;
  if (typeof inner["data"] !== "string") hide(tally);
  else tally.tokens += audioBound(inner["data"], inner["format"] ?? inner["media_type"] ?? inner["mime_type"]);
}

/** Anthropic's document: text is shown, PDFs and files are not (their pages are text and image, compressed). */
function addDocument(tally: Tally, part: Fields, depth: number): void {
  const { source, ...rest } = part as { source?: { type?: unknown; data?: unknown; content?: unknown } };
  addFields(tally, rest);
  if (source?.type === "text") addContent(tally, source.data, depth + 1);
  else if (source?.type === "content") addContent(tally, source.content, depth + 1);
  else hide(tally);
}

function addData(tally: Tally, part: Fields): void {
  const { mimeType = "", data } = part["inlineData"] as { mimeType?: string; data?: unknown };
  if (mimeType.startsWith("image/")) addImage(tally, part);
  else if (mimeType.startsWith("audio/") && typeof data === "string") addAudio(tally, { data, format: mimeType });
  else hide(tally);
}

/** A field of a message beside its content: tool calls and the like. */
function addDetail(tally: Tally, key: string, value: object): void {
  if (key === "cache_control") return addCacheControl(tally, value);
  tally.tokens += jsonBound(value, tally.count) + PER_PART;
}

/** Anthropic's `{ type: "ephemeral", ttl: "1h" }`: anything but five minutes is priced as an hour. */
export function addCacheControl(tally: Tally, control: unknown): void {
  const ttl = typeof control === "object" && control !== null ? (control as Fields)["ttl"] : undefined;
  if (ttl !== undefined && ttl !== null && ttl !== "5m") tally.hourCache = true;
}

/** Something the request does not show enters the prompt, of any kind. */
export function hide(tally: Tally): void {
  tally.hidden = tally.audio = tally.image = tally.video = true;
}
