import type { BaseMessage } from "@langchain/core/messages";

type Fields = Readonly<Record<string, unknown>>;

const roles: Readonly<Record<string, string>> = { human: "user", ai: "assistant", generic: "user" };

/** LangChain's messages in OpenAI's shape, with everything of them that can reach the prompt. */
export function openAIMessages(messages: readonly BaseMessage[]): Fields[] {
  return messages.map((message) => {
    const { name, tool_calls: calls, tool_call_id, role } = message as unknown as Fields;
    const { function_call, reasoning, reasoning_content, tool_calls: rawCalls } = message.additional_kwargs as Fields;
    const type = message.getType();
    return defined({
      role: role ?? roles[type] ?? type,
      content: withReasoning(message.content, reasoning),
      name,
      tool_call_id,
      // LangChain sends its own form and falls back to the provider's.
      tool_calls: isFilled(calls) ? calls.map(toolCall) : rawCalls,
      function_call,
      reasoning_content,
    });
  });
}

/** A reasoning item of the Responses API goes back to it with the next request. */
function withReasoning(content: unknown, reasoning: unknown): unknown {
  if (typeof reasoning !== "object" || reasoning === null) return content;
  return [...(Array.isArray(content) ? content : [content]), { ...reasoning, type: "reasoning" }];
}

function toolCall(call: Fields): Fields {
  const { id, name, args } = call;
  return { id, type: "function", function: { name, arguments: json(args) } };
}

/** Arguments that JSON cannot carry stay as they are: the policy then says which message they are in. */
function json(args: unknown): unknown {
  try {
    return JSON.stringify(args);
  } catch {
    return args;
  }
}

function isFilled(value: unknown): value is Fields[] {
  return Array.isArray(value) && value.length > 0;
}

function defined(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
