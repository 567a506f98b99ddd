import { MonthlyBudgetRule, BudgetRule, PolicyEngine, type Receipt } from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";
import { describe, expect, it } from "vitest";

/** $0.001 an input or output token. */
const price = { inputUsdPerMTok: 1000, outputUsdPerMTok: 1000 };
const request = { model: "m", inputTokens: 10, maxOutputTokens: 90 };

function setUp() {
  const time = new ManualClock();
  const policy = new PolicyEngine({
    rules: [new MonthlyBudgetRule({ maxUsd: 1 })],
    store: "memory",
    prices: { overrides: { m: price } },
    clock: time,
    leaseMs: 60_000,
    maxCallMs: 600_000,
  });
  const receipts: Receipt[] = [];
  policy.on("call-settled", ({ receipt }) => void receipts.push(receipt));
  const pass = async (ms: number) => {
    for (; ms > 0; ms -= 5_000) {
      time.advance(Math.min(5_000, ms));
      await Promise.resolve();
    }
  };
  const spend = async () => {
    const [{ spentUsd: settled, heldUsd: held }] = (await policy.usage()) as unknown as [
      { spentUsd: number; heldUsd: number },
    ];
    return { settled, held };
  };
  return { policy, receipts, pass, spend };
}

describe("a call whose stream passes elsewhere", () => {
  it("is charged its input and what it is told was streamed, when no usage comes", async () => {
    const { policy } = setUp();
    const auth = await policy.authorize(request);
    auth.streamed("four");
    auth.streamed("more");
    expect(await auth.settle()).toMatchObject({ costUsd: 0.012, estimated: true });
  });

  it("is charged its usage when one comes", async () => {
    const { policy } = setUp();
    const auth = await policy.authorize(request);
    auth.streamed("four");
    expect(await auth.settle({ inputTokens: 5, outputTokens: 50 })).toMatchObject({ costUsd: 0.055, estimated: false });
  });

  it("is not free when it fails after it has streamed, whatever the error says", async () => {
    const { policy, receipts, spend } = setUp();
    const auth = await policy.authorize(request);
    auth.streamed("four");
    await auth.fail({ status: 400 });
    expect(receipts).toMatchObject([{ costUsd: 0.011, estimated: true }]);
    expect(await spend()).toEqual({ settled: 0.011, held: 0 });
  });

  it("is renewed while more comes, and falls to its lease when nothing does", async () => {
    const { policy, pass, spend } = setUp();
    const auth = await policy.authorize(request);
    for (let minute = 0; minute < 5; minute++) {
      auth.streamed("more");
      await pass(45_000);
      auth.streamed("more");
      await pass(15_000);
      expect((await spend()).held).toBe(0.1);
    }
    await pass(85_000);
    expect(await spend()).toEqual({ settled: 0.1, held: 0 });
    await pass(300_000);
    expect(await spend()).toEqual({ settled: 0.02, held: 0 });
    expect(auth.closed).toBe(true);
  });
});

describe("a call that nobody may be left to close", () => {
  it("lapses: the bound is charged at the lease's end, and a late usage corrects it", async () => {
    const { policy, pass, spend } = setUp();
    const auth = await policy.authorize(request);
    auth.lapse();
    await pass(61_000);
    expect(await spend()).toEqual({ settled: 0.1, held: 0 });
    expect(auth.closed).toBe(false);
    await auth.settle({ inputTokens: 10, outputTokens: 10 });
    expect(await spend()).toEqual({ settled: 0.02, held: 0 });
  });

  it("given up, is charged its input a second later", async () => {
    const { policy, pass, spend } = setUp();
    const auth = await policy.authorize(request);
    auth.giveUp();
    expect(await spend()).toEqual({ settled: 0, held: 0.1 });
    await pass(1_000);
    expect(await spend()).toEqual({ settled: 0.01, held: 0 });
  });

  it("given up and then released, stays free", async () => {
    const { policy, pass, spend } = setUp();
    const auth = await policy.authorize(request);
    auth.giveUp();
    await auth.release();
    await pass(1_000);
    expect(await spend()).toEqual({ settled: 0, held: 0 });
  });

  it("given up, is charged what its end tells in time", async () => {
    const { policy, pass, spend } = setUp();
    const auth = await policy.authorize(request);
    auth.giveUp();
    await auth.settle({ inputTokens: 10, outputTokens: 80 });
    await pass(1_000);
    expect(await spend()).toEqual({ settled: 0.09, held: 0 });
  });
});

it("a policy names the labels it counts by", () => {
  const rules = [
    new MonthlyBudgetRule({ maxUsd: 1 }),
    new MonthlyBudgetRule({ maxUsd: 1, scope: "user" }),
    new BudgetRule({ maxUsd: 1, scope: { label: "team" } }),
  ];
  expect(new PolicyEngine({ rules, store: "memory", track: ["feature", "team"] }).labelNames).toEqual([
    "user_id",
    "team",
    "feature",
  ]);
});
