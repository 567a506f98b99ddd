import type { CountText } from "./text-size.js";

/** Why a value cannot be counted: the end of a sentence about it. */
export class Uncountable extends Error {}

/** Deeper nesting is a circle or an attack; JSON schemas rarely pass 20. */
const MAX_DEPTH = 64;
/** A graph whose branches meet again grows without bound when it is written as a tree. */
const MAX_NODES = 1_000_000;

/**
 * What a value costs beside its texts, in tokens, however it is rendered (JSON, indented JSON, a TypeScript signature): a mark
 * before, between and after, each with a line break and its indentation.
 */
const PER_PROPERTY = 6;
const PER_ELEMENT = 4;
const PER_CONTAINER = 4;
/** `false`, or Python's `False`. */
const PER_WORD = 5;

/**
 * A bound of the tokens of a JSON value as a provider may write it into the prompt: tool schemas, arguments of tool calls,
 * response formats. What JSON leaves out (functions, `undefined`) is left out; circles and BigInt throw `Uncountable`.
 */
export function jsonBound(value: unknown, count: CountText): number {
  let nodes = 0;
  const sizeOf = (node: unknown, depth: number): number => {
    if (++nodes > MAX_NODES) throw new Uncountable(`has more than ${MAX_NODES} values`);
    switch (typeof node) {
      case "string":
        return quotedBound(node, count);
      case "number":
        return Math.max(String(node).length, PER_WORD);
      case "boolean":
        return PER_WORD;
      case "bigint":
        throw new Uncountable("holds a BigInt, which JSON cannot carry");
      case "undefined":
      case "function":
      case "symbol":
        // In a list, JSON writes null for them.
        return PER_WORD;
      case "object":
        break;
    }
    if (node === null) return PER_WORD;
    if (depth >= MAX_DEPTH) throw new Uncountable(`is circular or nested deeper than ${MAX_DEPTH} levels`);
    const { toJSON } = node as { toJSON?: unknown };
    if (typeof toJSON === "function") return sizeOf(toJSON.call(node, ""), depth + 1);
    let tokens = PER_CONTAINER;
    if (Array.isArray(node)) {
      for (const element of node) tokens += sizeOf(element, depth + 1) + PER_ELEMENT;
      return tokens;
    }
    for (const key of Object.keys(node)) {
      const property = (node as Record<string, unknown>)[key];
      if (property === undefined || typeof property === "function" || typeof property === "symbol") continue;
      tokens += quotedBound(key, count) + PER_PROPERTY + sizeOf(property, depth + 1);
    }
    return tokens;
  };
  return sizeOf(value, 0);
}

/** Characters some rendering writes longer than they are: JSON escapes, HTML-safe JSON, JSON in ASCII. */
const ESCAPED = /[^ !#-%(-;=?-[\]-~]/;

/** A bound of a text between quotes, escaped in whatever way JSON allows. */
function quotedBound(text: string, count: CountText): number {
  const tokens = count(text) + 2;
  return ESCAPED.test(text) ? tokens + escapes(text) : tokens;
}

function escapes(text: string): number {
  let more = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    // \u0001 and \u0027 are 6 bytes for 1, \u4e2d 6 for at least 2; `\n` may become a new comment line with indentation.
    if (unit === 34 || unit === 92) more += 1;
    else if (unit === 10) more += 3;
    else if (unit > 126) more += 4;
    else if (unit < 32 || unit === 38 || unit === 39 || unit === 60 || unit === 62) more += 5;
  }
  return more;
}
