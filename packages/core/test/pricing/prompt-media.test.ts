import { describe, expect, test } from "vitest";
import { PER_PREDEFINED_TOOL, audioBound, familyOf, imageBound } from "../../src/pricing/prompt-media.js";
import { promptBound } from "../../src/pricing/prompt-bound.js";

const dataUrl = `data:image/png;base64,${"iVBORw0KGgo".repeat(100_000)}`;
const part = (content: object, model = "gpt-4o") =>
  promptBound({ model, messages: [{ role: "user", content: [content] }] });
const text = part({ type: "text", text: "" }).tokens;

describe("an image costs its family's documented maximum, whatever its bytes", () => {
  test.each<[string, object]>([
    ["OpenAI's image_url", { type: "image_url", image_url: { url: dataUrl } }],
    ["Responses' input_image", { type: "input_image", image_url: dataUrl }],
    ["Anthropic's image", { type: "image", source: { type: "base64", media_type: "image/png", data: dataUrl } }],
    ["Gemini's inlineData", { inlineData: { mimeType: "image/png", data: dataUrl } }],
    ["an image by file id", { type: "input_image", file_id: "file-1" }],
  ])("%s", (_, image) => {
    const bound = part(image);
    expect(bound.tokens).toBeLessThan(text + 1_445 + 50);
    expect(bound.tokens).toBeGreaterThanOrEqual(1_445);
    expect(bound).toMatchObject({ hidden: false, kinds: { image: true, audio: false } });
  });

  test.each<[string, string | undefined, number]>([
    // [model, detail, tokens of the largest image as the vision guides state them]
    ["gpt-4o", undefined, 85 + 8 * 170],
    ["gpt-4o-mini", undefined, 2_833 + 8 * 5_667],
    ["gpt-4o-mini", "low", 2_833],
    ["gpt-4.1-mini", "high", Math.ceil(1_536 * 1.62)],
    ["gpt-4.1-nano", "high", Math.ceil(1_536 * 2.46)],
    ["o4-mini", undefined, Math.ceil(1_536 * 1.72)],
    ["o1", "high", 75 + 8 * 150],
    ["gpt-5", "high", 70 + 8 * 140],
    ["gpt-5.4", "original", 10_000],
    ["gpt-5.4", "high", 2_500],
    ["claude-opus-4-8", undefined, 92 * 52],
    ["claude-sonnet-4-5", undefined, 1_600],
    ["gemini-2.5-pro", undefined, 258 * 24],
    ["gemini-3.1-pro-preview", undefined, 2_240],
    ["meta-llama/Llama-4-Scout", undefined, 6_404],
    ["grok-4", undefined, 7 * 256],
  ])("%s at detail %s is not under %d", (model, detail, most) => {
    expect(imageBound(familyOf(model), model, detail)).toBeGreaterThanOrEqual(most);
  });

  test("an unknown model's image is the dearest of all", () => {
    expect(imageBound(familyOf(undefined), undefined, undefined)).toBe(48_169);
  });

  test.each([
    ["gpt-4o", "openai"],
    ["openai/o3", "openai"],
    ["chatgpt-4o-latest", "openai"],
    ["gpt-oss-120b", "other"],
    ["ollama/o1x", "other"],
    ["us.anthropic.claude-opus-5", "claude"],
    ["models/gemini-2.5-pro", "gemini"],
    ["llama-3", "other"],
    [undefined, "other"],
  ])("%s is %s", (model, family) => expect(familyOf(model)).toBe(family));
});

describe("audio is bounded by its bytes and format", () => {
  // Gemini: 32 tokens a second; a minute of 24 kHz 16-bit WAV is 2.88 MB, of 16 kbit/s Opus 120 KB.
  test("a minute of speech is never under 1,920 tokens", () => {
    expect(audioBound("A".repeat((2_880_000 * 4) / 3), "wav")).toBeGreaterThanOrEqual(1_920);
    expect(audioBound("A".repeat((120_000 * 4) / 3), "opus")).toBeGreaterThanOrEqual(1_920);
    expect(audioBound("A".repeat((45_000 * 4) / 3), undefined)).toBeGreaterThanOrEqual(1_920);
    expect(audioBound("A".repeat((480_000 * 4) / 3), "wav")).toBeGreaterThanOrEqual(1_920);
  });

  test("inline audio is shown, and of its kind; audio elsewhere is hidden", () => {
    const data = "A".repeat(40_000);
    const shown = [
      { type: "input_audio", input_audio: { data, format: "wav" } },
      { inlineData: { mimeType: "audio/wav", data } },
      { type: "audio", source: { data } },
    ];
    for (const audio of shown)
      expect(part(audio)).toMatchObject({ hidden: false, kinds: { audio: true, image: false } });
    expect(part(shown[0]!).tokens).toBeLessThan(text + 40_000 / 10);
    expect(part({ type: "audio", url: "https://x/y.mp3" }).hidden).toBe(true);
  });
});

describe("input the request does not show is marked, so that the caller bounds it by the window or refuses", () => {
  const hidden = (request: object) =>
    promptBound({ model: "gpt-4o", messages: [{ role: "user", content: "hi" }], ...request }).hidden;

  test.each([
    "previous_response_id",
    "conversation",
    "container",
    "mcp_servers",
    "web_search_options",
    "search_parameters",
    "data_sources",
    "file_ids",
    "vector_store_ids",
    "tool_resources",
    "assistant_id",
    "thread_id",
    "cachedContent",
    "cached_content",
    "plugins",
  ])("params.%s", (name) => {
    expect(hidden({ params: { [name]: "id_1" } })).toBe(true);
    for (const absent of [undefined, null, false]) expect(hidden({ params: { [name]: absent } })).toBe(false);
  });

  test("a stored prompt, but not a prompt that is text", () => {
    expect(hidden({ params: { prompt: { id: "pmpt_1", version: "2" } } })).toBe(true);
    expect(hidden({ params: { prompt: "text" } })).toBe(false);
  });

  test.each<[string, object]>([
    ["a file by id", { type: "file", file: { file_id: "file-1" } }],
    ["a PDF", { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERi0" } }],
    ["an input_file", { type: "input_file", file_url: "https://x/y.pdf" }],
    ["a document by url", { type: "document", source: { type: "url", url: "https://x/y.pdf" } }],
    ["a document without a source", { type: "document" }],
    ["a video", { type: "video_url", video_url: { url: "https://x/y.mp4" } }],
    ["LangChain's media", { type: "media", mimeType: "application/pdf", data: "JVBERi0" }],
    ["Gemini's fileData", { fileData: { fileUri: "gs://x/y" } }],
    ["Gemini's inline PDF", { inlineData: { mimeType: "application/pdf", data: "JVBERi0" } }],
    ["an item by reference", { type: "item_reference", id: "msg_1" }],
    ["reasoning by id alone", { type: "reasoning", id: "rs_1", summary: [] }],
    ["a container's upload", { type: "container_upload", file_id: "file-1" }],
    ["a kind nobody knows yet", { type: "hologram", url: "https://x/y" }],
    ["a part without a kind", {}],
  ])("%s", (_, content) => {
    // Who knows what it is: it is priced as any kind.
    expect(part(content)).toMatchObject({ hidden: true, kinds: { audio: true, image: true, video: true } });
  });

  test("what is hidden is not counted as text: its base64 says nothing of its tokens", () => {
    const data = "JVBERi0x".repeat(10_000);
    for (const content of [
      { type: "file", file: { file_data: data } },
      { type: "input_file", file_data: data },
      { type: "media", data },
      { type: "video", data },
      { type: "video_url", video_url: { url: `data:video/mp4;base64,${data}` } },
      { type: "document", source: { type: "base64", data } },
      { inlineData: { mimeType: "application/pdf", data } },
      { fileData: { data } },
      { type: "container_upload", data },
      { type: "item_reference", data },
    ]) {
      expect(part(content).tokens).toBeLessThan(text + 100);
    }
  });

  test.each([
    "text input_text output_text refusal thinking redacted_thinking reasoning reasoning_text summary_text tool_use server_tool_use",
    "mcp_tool_use tool_call function function_call custom_tool_call tool_result function_call_output custom_tool_call_output search_result",
    "message",
  ])("parts of type %s are shown", (types) => {
    for (const type of types.split(" ")) expect(part({ type, text: "x" }).hidden, type).toBe(false);
  });

  test("a message with a type of its own and a role is a message", () => {
    expect(hidden({ messages: [{ type: "message", role: "user", content: "hi" }] })).toBe(false);
    expect(hidden({ messages: [{ type: "human", role: "user", content: "hi" }] })).toBe(false);
  });

  test("an item of a Responses input by reference, an answer's speech by id", () => {
    expect(hidden({ params: { input: [{ type: "item_reference", id: "msg_1" }] } })).toBe(true);
    expect(hidden({ messages: [{ role: "assistant", content: null, audio: { id: "audio_1" } }] })).toBe(true);
  });

  test.each<[string, object]>([
    ["text", { type: "text", text: "x" }],
    ["reasoning in full", { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "abc" }],
    ["LangChain's reasoning block", { type: "reasoning", reasoning: "because" }],
    ["a tool's call and its result", { type: "tool_result", tool_use_id: "1", content: [{ type: "text", text: "x" }] }],
    ["Gemini's function response", { functionResponse: { name: "f", response: { a: 1 } } }],
    ["a Bedrock cache point", { cachePoint: { type: "default" } }],
  ])("%s is shown", (_, content) =>
    expect(part(content)).toMatchObject({ hidden: false, kinds: { audio: false, image: false } }),
  );

  test("a PDF in a tool's result", () => {
    const result = {
      type: "tool_result",
      tool_use_id: "1",
      content: [{ type: "document", source: { type: "base64", data: "JVBERi0" } }],
    };
    expect(part(result).hidden).toBe(true);
  });

  test.each<[string, object]>([
    ["OpenAI's web search", { type: "web_search" }],
    ["file search", { type: "file_search", vector_store_ids: ["vs_1"] }],
    ["an MCP server", { type: "mcp", server_url: "https://x" }],
    ["Anthropic's web search", { type: "web_search_20250305", name: "web_search" }],
    ["Gemini's search", { googleSearch: {} }],
  ])("%s brings results into the prompt", (_, tool) => expect(hidden({ tools: [tool] })).toBe(true));

  test.each<[string, object]>([
    ["a function", { type: "function", function: { name: "f" } }],
    ["a Responses function", { type: "function", name: "f", parameters: {} }],
    ["a custom tool", { type: "custom", name: "f" }],
    ["Anthropic's tool", { name: "f", input_schema: {} }],
    ["Gemini's declarations", { functionDeclarations: [{ name: "f" }] }],
    ["Bedrock's toolSpec", { toolSpec: { name: "f" } }],
    ["Anthropic's bash, run by the client", { type: "bash_20250124", name: "bash" }],
  ])("%s does not", (_, tool) => expect(hidden({ tools: [tool] })).toBe(false));

  test("a tool known by name costs more than its name: 735 and 499 tokens for computer use", () => {
    const tools = (type: string) =>
      promptBound({ model: "claude-opus-5", tools: [{ type, name: "computer", display_width_px: 1 }] }).tokens;
    expect(PER_PREDEFINED_TOOL).toBeGreaterThanOrEqual(735 + 499);
    expect(tools("computer_20250124")).toBeGreaterThanOrEqual(tools("custom") + PER_PREDEFINED_TOOL);
  });
});

describe("an hour's cache is seen wherever it is asked for", () => {
  const hour = { type: "ephemeral", ttl: "1h" };
  test.each<[string, object, boolean]>([
    ["a part", { messages: [{ role: "user", content: [{ type: "text", text: "x", cache_control: hour }] }] }, true],
    [
      "a nested part",
      {
        messages: [
          {
            role: "user",
            content: [{ type: "tool_result", content: [{ type: "text", text: "x", cache_control: hour }] }],
          },
        ],
      },
      true,
    ],
    ["a message", { messages: [{ role: "user", content: "x", cache_control: hour }] }, true],
    ["a tool", { tools: [{ name: "f", cache_control: hour }] }, true],
    ["a system block", { params: { system: [{ type: "text", text: "x", cache_control: hour }] } }, true],
    ["the request", { params: { cache_control: hour } }, true],
    [
      "a Bedrock cache point",
      { messages: [{ role: "user", content: [{ cachePoint: { type: "default", ttl: "1h" } }] }] },
      true,
    ],
    ["five minutes", { params: { cache_control: { type: "ephemeral", ttl: "5m" } } }, false],
    ["the default", { params: { cache_control: { type: "ephemeral" } } }, false],
  ])("%s", (_, request, expected) => expect(promptBound(request).kinds.hourCache).toBe(expected));
});
