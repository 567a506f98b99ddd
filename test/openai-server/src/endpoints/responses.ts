import type { Answer } from "../answer.js";
import { missingParameter, tooSmall } from "../error-body.js";
import { charactersIn, charactersOfJson, TOKENS_PER_MESSAGE, tokensOf } from "../tokens.js";
import type { Endpoint, Frame } from "./endpoint.js";

/** `POST /v1/responses` */
export const responses: Endpoint = {
  problem(body) {
    if (body.input === undefined) return missingParameter("input");
    return tooSmall("max_output_tokens", body.max_output_tokens, 16);
  },

  demand(body) {
    const items = Array.isArray(body.input) ? (body.input as InputItem[]) : [{ content: body.input }];
    const characters =
      charactersIn(body.instructions) +
      charactersOfJson(body.tools) +
      items.reduce((sum, item) => sum + charactersIn(item.content ?? item.arguments ?? item.output), 0);
    return {
      promptTokens: tokensOf(characters) + TOKENS_PER_MESSAGE * (items.length + (body.instructions ? 1 : 0)),
      maxOutputTokens: body.max_output_tokens ?? Number.POSITIVE_INFINITY,
    };
  },

  json: (answer) => response(answer, endOf(answer)),

  frames(answer) {
    const end = endOf(answer);
    const events: Event[] = [
      { type: "response.created", response: response(answer, "in_progress") },
      { type: "response.in_progress", response: response(answer, "in_progress") },
      ...outputOf(answer).flatMap(({ item, begin, middle }, output_index) => {
        const place = { output_index, item_id: item.id };
        return [
          { type: "response.output_item.added", output_index, item: begin },
          ...middle.map((event) => ({ ...place, ...event })),
          { type: "response.output_item.done", output_index, item },
        ];
      }),
      { type: `response.${end}`, response: response(answer, end) },
    ];
    return events.map((event, sequence_number): Frame => ({
      event: event.type,
      data: { ...event, sequence_number },
      isContent: event.type.endsWith(".delta"),
    }));
  },
};

interface InputItem {
  readonly content?: unknown;
  readonly arguments?: unknown;
  readonly output?: unknown;
}

interface Event {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** An item of the output, finished, as it begins in a stream, and the events between. */
interface OutputItem {
  readonly item: { readonly id: string };
  readonly begin: object;
  readonly middle: readonly Event[];
}

function outputOf(answer: Answer): OutputItem[] {
  const calls = answer.toolCalls.map((call, index) => functionCall(answer, call, index));
  return answer.text === "" && calls.length > 0 ? calls : [message(answer), ...calls];
}

function message(answer: Answer): OutputItem {
  const { text } = answer;
  const part = (content: string): object => ({ type: "output_text", text: content, annotations: [], logprobs: [] });
  const item = (status: string, content: object[]) => {
    return { id: `msg_${answer.id}`, type: "message", role: "assistant", status, content };
  };
  return {
    item: item(endOf(answer), [part(text)]),
    begin: item("in_progress", []),
    middle: [
      { type: "response.content_part.added", content_index: 0, part: part("") },
      ...answer
        .split(text)
        .map((delta) => ({ type: "response.output_text.delta", content_index: 0, delta, logprobs: [] })),
      { type: "response.output_text.done", content_index: 0, text, logprobs: [] },
      { type: "response.content_part.done", content_index: 0, part: part(text) },
    ],
  };
}

function functionCall(answer: Answer, call: Answer["toolCalls"][number], index: number): OutputItem {
  const item = (status: string, json: string) => {
    return {
      id: `fc_${answer.id}_${index}`,
      type: "function_call",
      call_id: call.id,
      name: call.name,
      status,
      arguments: json,
    };
  };
  return {
    item: item(endOf(answer), call.arguments),
    begin: item("in_progress", ""),
    middle: [
      ...answer.split(call.arguments).map((delta) => ({ type: "response.function_call_arguments.delta", delta })),
      { type: "response.function_call_arguments.done", name: call.name, arguments: call.arguments },
    ],
  };
}

function endOf(answer: Answer): "completed" | "incomplete" {
  return answer.finishReason === "length" ? "incomplete" : "completed";
}

function response(answer: Answer, status: "in_progress" | "completed" | "incomplete"): object {
  const { usage } = answer;
  const output = status === "in_progress" ? [] : outputOf(answer).map(({ item }) => item);
  return {
    id: `resp_${answer.id}`,
    object: "response",
    created_at: answer.created,
    status,
    error: null,
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    model: answer.model,
    output,
    parallel_tool_calls: true,
    tool_choice: "auto",
    tools: [],
    metadata: {},
    ...(status !== "in_progress" &&
      !answer.omitUsage && {
        usage: {
          input_tokens: usage.promptTokens,
          input_tokens_details: { cached_tokens: usage.cachedTokens },
          output_tokens: usage.completionTokens,
          output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
          total_tokens: usage.promptTokens + usage.completionTokens,
        },
      }),
  };
}
