import { describe, expect, test } from "vitest";
import { ConfigError } from "../../src/errors/config-error.js";
import { promptBound } from "../../src/pricing/prompt-bound.js";

const fine = { role: "user", content: "fine" };
const third = (message: unknown) => ({ messages: [fine, fine, fine, message] });
const circle: Record<string, unknown> = { type: "text" };
circle["self"] = circle;
const throwing = (field: string) =>
  Object.defineProperty({ role: "user" } as object, field, {
    enumerable: true,
    get: () => {
      throw new TypeError("secret prompt");
    },
  });
const { proxy: revoked, revoke } = Proxy.revocable({}, {});
revoke();
const list: unknown[] = [];
list.push(list);

describe("a message that cannot be counted is a ConfigError naming its field, never another exception", () => {
  test.each<[string, unknown, string]>([
    ["null", null, "messages[3]"],
    ["undefined", undefined, "messages[3]"],
    ["a number", 7, "messages[3]"],
    ["text", "secret prompt", "messages[3]"],
    ["a BigInt", 10n, "messages[3]"],
    ["a revoked proxy", revoked, "messages[3]"],
    ["content that is a number", { role: "user", content: 5 }, "messages[3].content"],
    ["content that is a boolean", { role: "user", content: true }, "messages[3].content"],
    ["content that is a BigInt", { role: "user", content: 5n }, "messages[3].content"],
    ["content that is a function", { role: "user", content: () => "secret prompt" }, "messages[3].content"],
    ["content that is a symbol", { role: "user", content: Symbol("secret prompt") }, "messages[3].content"],
    ["content that throws when read", throwing("content"), "messages[3].content"],
    ["a part that is null", { role: "user", content: [null] }, "messages[3].content"],
    [
      "a part that is a number",
      { role: "user", content: [{ type: "text", text: "secret prompt" }, 3] },
      "messages[3].content",
    ],
    ["a part in a circle", { role: "user", content: [circle] }, "messages[3].content"],
    ["a list in itself", { role: "user", content: list }, "messages[3].content"],
    ["a part with a BigInt", { role: "user", content: [{ type: "text", text: 1n }] }, "messages[3].content"],
    ["a part that throws", { role: "user", content: [throwing("type")] }, "messages[3].content"],
    ["a revoked part", { role: "user", content: [revoked] }, "messages[3].content"],
    ["tool calls in a circle", { role: "assistant", content: null, tool_calls: [circle] }, "messages[3].tool_calls"],
    ["a name that throws", throwing("name"), "messages[3].name"],
    ["a field with a BigInt", { role: "user", content: "x", extra: 3n }, "messages[3].extra"],
  ])("%s", (_, message, field) => {
    let thrown: unknown;
    try {
      promptBound(third(message));
    } catch (error) {
      thrown = error;
    }
    expect(ConfigError.isInstance(thrown)).toBe(true);
    expect((thrown as ConfigError).field).toBe(field);
    expect((thrown as Error).message).not.toContain("secret");
    expect(String((thrown as ConfigError).value)).not.toContain("secret");
  });

  test("the message says what is wrong", () => {
    expect(() => promptBound(third(null))).toThrow("messages[3]: must be an object; got null");
    expect(() => promptBound(third({ content: 7 }))).toThrow(
      "messages[3].content: must be text, a list of parts or null; got 7",
    );
  });

  test("a tool's result inside itself is called a circle", () => {
    const result: Record<string, unknown> = { type: "tool_result" };
    result["content"] = [result];
    expect(() => promptBound(third({ role: "user", content: [result] }))).toThrow(
      /messages\[3\]\.content: is circular/,
    );
  });

  test.each<[string, object, string]>([
    ["messages that are text", { messages: "secret prompt" }, "messages"],
    ["messages that are one message", { messages: fine }, "messages"],
    ["tools that are an object", { tools: {} }, "tools"],
    ["a tool that is null", { tools: [null] }, "tools[0]"],
    ["a tool in a circle", { tools: [{ name: "f" }, circle] }, "tools[1]"],
    ["a parameter in a circle", { params: { response_format: circle } }, "params.response_format"],
    ["a parameter that is a BigInt", { params: { budget: 3n } }, "params.budget"],
    ["a parameter that throws", { params: throwing("system") }, "params.system"],
    ["a block of a system prompt", { params: { system: [3] } }, "params.system"],
    ["a message among the parameters", { params: { input: [fine, 3] } }, "params.input[1]"],
    ["a tool among the parameters", { params: { functions: [3] } }, "params.functions[0]"],
  ])("%s", (_, request, field) => {
    const bound = () => promptBound(request);
    expect(bound).toThrow(expect.objectContaining({ code: "INVALID_INPUT", field }));
    expect(bound).not.toThrow(/secret/);
  });

  test("nothing to count is nothing: no messages, null content, empty lists", () => {
    const empty = promptBound({ model: "gpt-4o" }).tokens;
    expect(promptBound({ model: "gpt-4o", messages: [], tools: [], params: {} }).tokens).toBe(empty);
    expect(() =>
      promptBound({ messages: [{ role: "assistant", content: null }, {}, { content: undefined }] }),
    ).not.toThrow();
  });
});
