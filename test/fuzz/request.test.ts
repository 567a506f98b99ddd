import { MonthlyBudgetRule, PerUserBudgetRule, type GovernedRequest, type Labels } from "@driftlock/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectUnharmed, fuzz, outcome, policyOf, sound } from "./fuzz.js";
import {
  always,
  fickle,
  hostile,
  listOf,
  nonsense,
  oddStrings,
  Recipe,
  recordOf,
  spoiled,
  throwing,
} from "./hostile.js";

const fields =
  "model messages inputTokens maxOutputTokens tools params operation costUsd labels endpoint provider signal waitMs clamp amendable id".split(
    " ",
  );

/** A field may be missed, or count, only beside another one. */
const seconds: Readonly<Record<string, readonly string[]>> = {
  messages: ["inputTokens"],
  tools: ["inputTokens"],
  params: ["inputTokens"],
  operation: ["costUsd"],
  inputTokens: ["maxOutputTokens"],
};

/** Not a mistake of the request: a rule, an unknown model or a known id. */
const isVerdict = (error: object) => "ruleName" in error || "id" in error;

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** One policy for all inputs: whatever one leaves behind spoils the next. */
function shared() {
  return policyOf([
    new MonthlyBudgetRule({ maxUsd: 1_000 }),
    new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 1_000 }),
  ]);
}

async function tryOut(policy: ReturnType<typeof shared>, request: unknown): Promise<void> {
  const given = request as GovernedRequest;
  const called = await outcome(() => policy.authorize(given));
  if ("value" in called) {
    expect(called.value.heldUsd).toBeGreaterThanOrEqual(0);
    await called.value.release();
  }
  await outcome(() => policy.evaluate(given));
}

describe("a request", () => {
  it("of any shape passes, or is refused by a typed error; nothing is held afterwards", async () => {
    const policy = shared();
    const operation = { operation: "image", costUsd: 0.04 };
    const input = fc.oneof(
      { weight: 3, arbitrary: hostile(sound, ...fields) },
      { weight: 1, arbitrary: hostile(operation, ...fields) },
    );
    await fuzz(1_000, input, (request) => tryOut(policy, request.make()));
    await expectUnharmed(policy);
  });

  it("names the field that is wrong", async () => {
    const policy = shared();
    await fuzz(400, fc.tuple(fc.constantFrom(...fields), nonsense), async ([field, value]) => {
      const called = await outcome(() => policy.authorize({ ...sound, [field]: value.make() } as never));
      if ("value" in called) return void (await called.value.release());
      const { message } = called.error;
      const isNamed = [field, ...(seconds[field] ?? [])].some((name) => message.startsWith(name));
      expect(isNamed || isVerdict(called.error), `${field}: ${message}`).toBe(true);
    });
    await expectUnharmed(policy);
  });

  it("may carry labels of any kind", async () => {
    const policy = shared();
    const many = fc
      .integer({ min: 30, max: 40 })
      .map((n) => always(Object.fromEntries(range(n).map((i) => [`label-${i}`, "x"]))));
    const named = fc
      .tuple(oddStrings, fc.oneof(oddStrings.map(always), nonsense))
      .map(([name, value]) => value.map((own) => ({ [name]: own })));
    const parsed = oddStrings.map((name) =>
      always(JSON.parse(`{${JSON.stringify(name)}: "x", "__proto__": "y"}`) as unknown),
    );
    const users = oddStrings.map((user_id) => always({ user_id }));
    const throwers = fc.constantFrom(new Recipe(() => throwing("user_id")), new Recipe(() => fickle("ada", 5)));
    const labels = fc.oneof(
      nonsense,
      many,
      named,
      parsed,
      users,
      throwers,
      spoiled({ user_id: "ada" }, "constructor", "__proto__", "plan"),
    );
    await fuzz(600, labels, async (given) => {
      await tryOut(policy, { ...sound, labels: given.make() });
      await outcome(() => policy.usage({ labels: given.make() as Labels }));
    });
    await expectUnharmed(policy);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  it("may carry messages of any kind", async () => {
    const policy = shared();
    const message = spoiled(
      { role: "user", content: "Hello" },
      "type",
      "name",
      "tool_calls",
      "tool_call_id",
      "audio",
      "refusal",
      "parts",
      "cache_control",
    );
    const part = spoiled(
      { type: "text", text: "Hello" },
      "image_url",
      "input_audio",
      "file",
      "source",
      "inlineData",
      "content",
      "output",
    );
    const kinds = fc.constantFrom(
      "image_url",
      "input_audio",
      "document",
      "tool_result",
      "file",
      "data",
      "audio",
      "reasoning",
      "text",
    );
    const typedPart = fc.tuple(kinds, part).map(([type, fields]) => fields.map((own) => ({ ...own, type })));
    const content = listOf(fc.oneof(part, typedPart, nonsense), 3).map((parts) =>
      parts.map((list) => ({ role: "user", content: list })),
    );
    const messages = fc.oneof(nonsense, listOf(typedPart, 2), listOf(fc.oneof(message, content, nonsense), 4));
    await fuzz(800, messages, (given) => tryOut(policy, { ...sound, messages: given.make() }));
    await expectUnharmed(policy);
  });

  it("may carry tools and parameters of any kind", async () => {
    const policy = shared();
    const tool = spoiled(
      { type: "function", function: { name: "f", parameters: { type: "object" } } },
      "name",
      "cache_control",
    );
    const tools = fc.oneof(nonsense, listOf(fc.oneof(tool, nonsense), 3));
    const params = hostile(
      { n: 1, max_tokens: 10 },
      "max_completion_tokens",
      "tool_choice",
      "response_format",
      "input",
      "system",
      "tools",
      "messages",
      "prompt",
      "prediction",
    );
    await fuzz(500, fc.oneof(recordOf({ tools }), recordOf({ params }), recordOf({ tools, params })), (more) =>
      tryOut(policy, { ...sound, ...more.make() }),
    );
    await expectUnharmed(policy);
  });

  it("may be huge", async () => {
    const policy = shared();
    const deep = Array.from({ length: 5_000 }).reduce<unknown>((inner) => ({ inner }), {});
    const wide = Array.from({ length: 100_000 }, (_, i) => ({ [`k${i}`]: i }));
    for (const content of ["x".repeat(5_000_000), "中".repeat(1_000_000), deep, [deep], wide, new Array(1_000_000)]) {
      await tryOut(policy, { ...sound, messages: [{ role: "user", content }] });
      await tryOut(policy, { ...sound, params: { prediction: content } });
    }
    await expectUnharmed(policy);
  });
});
