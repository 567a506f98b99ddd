import { ConfigError } from "../../errors/config-error.js";
import type { Json } from "./protocol.js";

/**
 * The caller's maximum of output tokens under one of these names; of several the largest, because any may bind. null and
 * negative numbers (-1 on some servers) mean none.
 * @throws ConfigError for what is no number of tokens: servers differ in what they make of it.
 */
export function maximumIn(body: Json, names: readonly string[]): number | undefined {
  let most: number | undefined;
  for (const name of names) {
    const value = body[name];
    if (value === undefined || value === null || isUnlimited(value)) continue;
    if (!Number.isSafeInteger(value)) {
      throw new ConfigError({ field: name, value, problem: "must be a whole number of tokens" });
    }
    most = Math.max(most ?? 0, value as number);
  }
  return most;
}

/** The body without a maximum by any name: one that belongs to another protocol binds nothing, and must not be counted on. */
export function withoutMaximums(body: Json): Json {
  const { max_tokens: _chat, max_completion_tokens: _newer, max_output_tokens: _responses, ...rest } = body;
  return rest;
}

/**
 * The body with the granted maximum in the field the caller used, else in `usual`. A maximum of the caller's own is never
 * raised. Without a grant (a dry policy) the body is as it was.
 */
export function withMaximum(body: Json, names: readonly string[], granted: number | undefined, usual: string): Json {
  if (granted === undefined) return body;
  const used = names.filter((name) => typeof body[name] === "number");
  const fields = used.length === 0 ? [usual] : used;
  return {
    ...body,
    ...Object.fromEntries(
      fields.map((name) => {
        const own = body[name];
        return [name, typeof own === "number" && !isUnlimited(own) ? Math.min(own, granted) : granted];
      }),
    ),
  };
}

function isUnlimited(value: unknown): boolean {
  return typeof value === "number" && value < 0;
}
