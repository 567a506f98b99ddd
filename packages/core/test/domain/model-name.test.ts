import { describe, expect, test } from "vitest";
import { isDrifting, isVariantOf } from "../../src/domain/model-name.js";

describe("a dated variant counts as its model", () => {
  test.each([
    ["gpt-4o", "gpt-4o"],
    ["GPT-4o ", "gpt-4o"],
    ["gpt-4o-2024-08-06", "gpt-4o"],
    ["gpt-4-0613", "gpt-4"],
    ["claude-opus-4-20250514", "claude-opus-4"],
    ["claude-opus-4-1@20250805", "claude-opus-4-1"],
    ["claude-sonnet-4-0", "claude-sonnet-4"],
    ["claude-opus-4-6@default", "claude-opus-4-6"],
    ["claude-3-5-haiku-latest", "claude-3-5-haiku"],
    ["llama3.2:latest", "llama3.2"],
    ["mistral-large-2411", "mistral-large"],
    ["command-r-plus-08-2024", "command-r-plus"],
    ["gemini-2.0-flash-001", "gemini-2.0-flash"],
    ["gemini-2.5-pro-preview-05-06", "gemini-2.5-pro"],
    ["gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash"],
    ["openai/gpt-4o-2024-08-06", "gpt-4o"],
    ["models/gemini-2.5-pro", "gemini-2.5-pro"],
    ["us.anthropic.claude-opus-4-1-20250805-v1:0", "claude-opus-4-1"],
    ["us.anthropic.claude-opus-4-1-20250805-v1:0", "anthropic.claude-opus-4-1"],
    ["anthropic.claude-opus-4-6-v1", "anthropic.claude-opus-4-6"],
    ["us.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"],
    ["arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"],
  ])("%s is %s", (model, base) => expect(isVariantOf(model, base)).toBe(true));
});

describe("another model does not", () => {
  test.each([
    ["gpt-4o-mini", "gpt-4o"],
    ["gpt-4o-mini-2024-07-18", "gpt-4o"],
    ["gpt-4", "gpt-4o"],
    ["gpt-4o", "gpt-4o-2024-08-06"],
    ["gpt-5-mini", "gpt-5"],
    ["gpt-5.1", "gpt-5"],
    ["gpt-4.1-mini", "gpt-4.1"],
    ["gpt-4-1106-preview", "gpt-4"],
    ["o1-pro", "o1"],
    ["o1-preview", "o1"],
    ["claude-sonnet-5-5", "claude-sonnet-5"],
    ["claude-opus-4-1", "claude-opus-4"],
    ["claude-opus-4-1-20250805", "claude-opus-4"],
    ["gemini-1.5-flash-8b", "gemini-1.5-flash"],
    ["gpt-4o:extended", "gpt-4o"],
    ["gpt-4o-9999", "gpt-4o"],
    ["mixtral-8x7b-32768", "mixtral-8x7b"],
    ["ft:gpt-4o-2024-08-06:acme::x", "gpt-4o"],
    ["gpt-4o", "azure/gpt-4o"],
    ["gpt-4o", ""],
    ["-latest", " "],
    ["", ""],
    ["meta.llama3-1-8b-instruct-v1:0", "meta.llama3"],
  ])("%s is not %s", (model, base) => expect(isVariantOf(model, base)).toBe(false));
});

describe("names the provider moves are flagged", () => {
  test.each(["claude-3-5-sonnet-latest", "chatgpt-4o-latest", "llama3:latest", "~anthropic/claude-opus-latest"])(
    "%s",
    (name) => expect(isDrifting(name)).toBe(true),
  );
  test.each(["gpt-4o", "gpt-4o-2024-08-06", "latest-model", "greatest"])("%s stays", (name) =>
    expect(isDrifting(name)).toBe(false),
  );
});
