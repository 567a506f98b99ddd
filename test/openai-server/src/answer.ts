import type { BilledUsage } from "./bill.js";
import { datedModel } from "./models.js";
import type { Reply } from "./reply.js";
import type { ReceivedRequest } from "./request.js";
import { CHARACTERS_PER_TOKEN, tokensOf } from "./tokens.js";

/** A reply worked out for one request: what will be said, in which pieces, and what it costs. */
export interface Answer {
  readonly id: string;
  readonly model: string;
  /** Seconds since the epoch. */
  readonly created: number;
  /** How many times the same answer is given, as asked for by `n`. */
  readonly choices: number;
  readonly text: string;
  readonly toolCalls: readonly AnswerToolCall[];
  readonly finishReason: string;
  readonly usage: BilledUsage;
  readonly omitUsage: boolean;
  /** Cuts a text into the pieces it is streamed in. */
  readonly split: (text: string) => string[];
}

interface AnswerToolCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/** Ten tokens by the rule of `tokens.ts`. */
const defaultText = "A local answer: ten tokens on every call";

/** What an endpoint reads in a request: the size of its prompt and the maximum a choice may have. */
export interface Demand {
  readonly promptTokens: number;
  readonly maxOutputTokens: number;
}

/** Works `reply` out for `request`. Pure: the same request and reply give the same answer. */
export function planAnswer(request: ReceivedRequest, reply: Reply, demand: Demand): Answer {
  const { body } = request;
  const choices = body.n ?? 1;
  const scripted = reply.usage ?? {};
  const maximum = reply.ignoreMaximum ? Number.POSITIVE_INFINITY : demand.maxOutputTokens;
  const reasoningTokens = Math.min(scripted.reasoningTokens ?? 0, maximum * choices);

  // The maximum covers reasoning and text together; reasoning comes first.
  let room = Math.max(0, maximum - Math.ceil(reasoningTokens / choices)) * CHARACTERS_PER_TOKEN;
  let visible = 0;
  let cutText = false;
  const take = (text: string): string => {
    const kept = text.slice(0, room);
    room -= kept.length;
    visible += kept.length;
    cutText ||= kept.length < text.length;
    return kept;
  };

  const text = take(reply.text ?? (reply.toolCalls ? "" : defaultText));
  const toolCalls = (reply.toolCalls ?? []).map((call, index) => ({
    id: call.id ?? `call_${request.id}_${index}`,
    name: call.name,
    arguments: take(typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments)),
  }));

  const wanted = scripted.completionTokens ?? reasoningTokens + choices * tokensOf(visible);
  const completionTokens = Math.min(wanted, maximum * choices);
  const isCut = cutText || completionTokens < wanted;

  return {
    id: request.id,
    model: reply.model ?? datedModel(body.model ?? ""),
    created: Math.floor(request.at / 1000),
    choices,
    text,
    toolCalls,
    finishReason: reply.finishReason ?? (isCut ? "length" : toolCalls.length > 0 ? "tool_calls" : "stop"),
    usage: {
      promptTokens: scripted.promptTokens ?? demand.promptTokens,
      completionTokens,
      cachedTokens: scripted.cachedTokens ?? 0,
      reasoningTokens,
      ...(scripted.cacheWriteTokens !== undefined && { cacheWriteTokens: scripted.cacheWriteTokens }),
      ...(scripted.costUsd !== undefined && { costUsd: scripted.costUsd }),
    },
    omitUsage: reply.omitUsage ?? false,
    split: (whole) => split(whole, reply.chunks ?? tokensOf(whole.length)),
  };
}

/** `text` in `count` pieces of about the same length; fewer when it has fewer characters. */
function split(text: string, count: number): string[] {
  const pieces = Math.min(count, text.length);
  const start = (index: number): number => Math.floor((index * text.length) / pieces);
  return Array.from({ length: pieces }, (_, index) => text.slice(start(index), start(index + 1)));
}
