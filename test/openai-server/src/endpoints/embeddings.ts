import { missingParameter } from "../error-body.js";
import type { RequestBody } from "../request.js";
import { tokensOf } from "../tokens.js";
import type { Endpoint } from "./endpoint.js";

/** `POST /v1/embeddings` */
export const embeddings: Endpoint = {
  problem: (body) => (body.input === undefined ? missingParameter("input") : undefined),

  demand: (body) => ({
    promptTokens: inputsOf(body).reduce((sum, input) => sum + inputTokens(input), 0),
    maxOutputTokens: 0,
  }),

  json(answer, body) {
    const dimensions = body.dimensions ?? 1536;
    const data = inputsOf(body).map((input, index) => {
      const vector = embed(input, dimensions);
      // The SDK asks for base64 unless told otherwise: little-endian 32-bit floats.
      const embedding =
        body.encoding_format === "base64" ? Buffer.from(vector.buffer).toString("base64") : Array.from(vector);
      return { object: "embedding", index, embedding };
    });
    const { promptTokens } = answer.usage;
    return {
      object: "list",
      data,
      model: answer.model,
      ...(!answer.omitUsage && { usage: { prompt_tokens: promptTokens, total_tokens: promptTokens } }),
    };
  },
};

/** A text, or a text the client has already cut into tokens. */
type Input = string | readonly number[];

function inputsOf({ input }: RequestBody): readonly Input[] {
  if (!Array.isArray(input)) return [input as string];
  return typeof input[0] === "number" ? [input as number[]] : (input as Input[]);
}

function inputTokens(input: Input): number {
  return typeof input === "string" ? tokensOf(input.length) : input.length;
}

/** A vector of length 1 that depends on every character: a fixed direction a character, turned by its place. */
function embed(input: Input, dimensions: number): Float32Array {
  const codes = typeof input === "string" ? Array.from(input, (character) => character.codePointAt(0)!) : input;
  const vector = new Float32Array(dimensions);
  for (const [place, code] of codes.entries()) vector[(code * 31 + place * 7) % dimensions]! += 1 + (code % 13);
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}
