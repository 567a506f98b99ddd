import { MonthlyBudgetRule } from "@driftlock/core";
import { describe, expect, it } from "vitest";
import { Capture } from "../src/capture.js";
import { failure, setUp as setUpPriced, spend } from "./harness.js";

const request = { model: "gpt-4o", inputTokens: 0, maxOutputTokens: 100 };
const sends = (model = "gpt-4o", max_tokens: number | undefined = 100) => ({
  invocation_params: { model, max_tokens },
});

async function setUp(maxUsd = 1) {
  const given = await setUpPriced({ rules: [new MonthlyBudgetRule({ maxUsd })] });
  const capture = new Capture({ policy: given.policy, auth: await given.policy.authorize(request) });
  const start = (runId: string, parent?: string, extra: object = sends()) =>
    capture.handleChatModelStart({} as never, [[]], runId, parent, extra as Record<string, unknown>);
  const usage = { input_tokens: 0, output_tokens: 50, total_tokens: 50 };
  const end = (runId: string) =>
    capture.handleLLMEnd({ generations: [[{ text: "", message: { usage_metadata: usage } } as never]] }, runId);
  return { ...given, capture, start, end };
}

describe("a capture", () => {
  it("settles the call that it sees at what it used", async () => {
    const { policy, capture, start, end } = await setUp();
    await start("a");
    expect(capture.wasSent).toBe(true);
    await end("a");
    expect(capture.wasAnswered).toBe(true);
    await capture.close();
    expect(await spend(policy)).toEqual({ settled: 0.05, held: 0 });
  });

  it("authorizes a further attempt that the host makes, before it is sent", async () => {
    const { policy, start, end, capture, receipts } = await setUp(0.15);
    await start("a");
    await capture.handleLLMError(Object.assign(new Error("busy"), { status: 500 }), "a");
    // $0.10 were perhaps billed; a second attempt of $0.10 no longer fits.
    expect(await failure(start("b"))).toMatchObject({ ruleName: "MonthlyBudgetRule" });
    await end("b");
    await capture.close();
    expect(receipts).toHaveLength(1);
    expect(await spend(policy)).toEqual({ settled: 0.1, held: 0 });
  });

  it("accounts each of several attempts", async () => {
    const { policy, start, end, capture, receipts } = await setUp();
    for (const run of ["a", "b", "c"]) {
      await start(run);
      await end(run);
    }
    await capture.close();
    expect(receipts.map(({ costUsd }) => costUsd)).toEqual([0.05, 0.05, 0.05]);
    expect(new Set(receipts.map(({ id }) => id)).size).toBe(3);
    expect(await spend(policy)).toEqual({ settled: 0.15, held: 0 });
  });

  it("counts a model that calls another one for its answer once", async () => {
    const { policy, start, end, capture, receipts } = await setUp();
    await start("outer");
    await start("inner", "outer");
    await end("inner");
    await end("outer");
    await capture.close();
    expect(receipts).toHaveLength(1);
    expect((await spend(policy)).held).toBe(0);
  });

  it("hears the same start twice, as older cores tell it, and counts it once", async () => {
    const { start, end, capture, receipts } = await setUp();
    await start("a");
    await start("a");
    await end("a");
    await capture.close();
    expect(receipts).toHaveLength(1);
  });

  it.each([
    ["another model", sends("gpt-4o-mini"), "model"],
    ["a dated one, which has a price of its own", sends("gpt-4o-2024-05-13"), "model"],
    ["more output than was granted", sends("gpt-4o", 101), "maxOutputTokens"],
    ["no maximum", { invocation_params: { model: "gpt-4o" } }, "maxOutputTokens"],
    ["no maximum, where only a parameter is told", { invocation_params: { temperature: 1 } }, "maxOutputTokens"],
  ])("does not let %s go", async (_, extra, field) => {
    const { policy, start, capture } = await setUp();
    expect(await failure(start("a", undefined, extra))).toMatchObject({ name: "ConfigError", field });
    await capture.close({ error: new Error("refused") });
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });

  it("lets less than was granted go, and what tells nothing at all", async () => {
    for (const extra of [sends("gpt-4o", 99), {}]) {
      const { start } = await setUp();
      await start("a", undefined, extra);
    }
  });

  it("gives back what was never sent", async () => {
    const { policy, capture, released } = await setUp();
    await capture.close({ error: new Error("before it was sent") });
    expect(released).toHaveLength(1);
    expect(await spend(policy)).toEqual({ settled: 0, held: 0 });
  });

  it("settles by its answer what a model sent without telling callbacks", async () => {
    const { policy, capture } = await setUp();
    await capture.close({ answer: { usage_metadata: { input_tokens: 0, output_tokens: 30 } } });
    expect(await spend(policy)).toEqual({ settled: 0.03, held: 0 });
    const silent = await setUp();
    await silent.capture.close({ answer: "parsed" });
    expect(silent.receipts).toMatchObject([{ estimated: true, costUsd: 0.1 }]);
  });
});
