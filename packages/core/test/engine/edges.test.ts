import { describe, expect, it } from "vitest";
import { usageFromOpenAI } from "../../src/call/usage-from-openai.js";
import { MemoryLedger } from "../../src/ledger/memory.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { RuleDecision } from "../../src/policy/decision.js";
import { ConcurrencyLimitRule } from "../../src/policy/rules/concurrency-limit.js";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { PerUserBudgetRule } from "../../src/policy/rules/per-user-budget.js";
import { ManualClock } from "../../src/testing/manual-clock.js";
import { bench, costing, failure, heard, month, pass, refusal, used, watch } from "./kit.js";

/** A ledger that answers after a while, as a store does. */
function slowly(ledger: MemoryLedger, clock: ManualClock, ms: number): Ledger {
  const later = <T>(answer: () => T) => new Promise<T>((resolve) => clock.after(ms, () => resolve(answer())));
  return {
    atomicity: "process",
    reserve: (request) => later(() => ledger.reserve(request)),
    check: (...given) => later(() => ledger.check(...given)),
    settle: (...given) => later(() => ledger.settle(...given)),
    release: (...given) => later(() => ledger.release(...given)),
    renew: (...given) => later(() => ledger.renew(...given)),
    read: (meters) => later(() => ledger.read(meters)),
    amend: (...given) => later(() => ledger.amend(...given)),
    acceptLoss() {},
    close() {},
  };
}

async function* streamOf(chunks: readonly unknown[]) {
  yield* chunks;
}
const text = (content: string) => ({ choices: [{ delta: { content } }] });
const tokens = (prompt_tokens: number, completion_tokens: number) => ({ usage: { prompt_tokens, completion_tokens } });

describe("a call that had begun is paid for", () => {
  it("also when a refusal of a call inside it is what it throws", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 10 })]);
    for (let i = 0; i < 3; i++) {
      await refusal(policy.run(costing(1), () => policy.authorize(costing(100))));
    }
    expect(await month(policy)).toEqual({ spentUsd: 3, heldUsd: 0 });
  });
});

describe("a call that waits on a store", () => {
  it("leaves at its deadline, however many calls of others end meanwhile", async () => {
    const clock = new ManualClock();
    const store = slowly(new MemoryLedger({ clock }), clock, 5);
    const { policy } = bench([new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 1 })], { clock, store });
    const held = policy.authorize(costing(0.9, { labels: { user_id: "ada" } }));
    await pass(clock, 20, 5);
    await held;
    let stop = false;
    const traffic = Array.from({ length: 4 }, async (_, i) => {
      for (let n = 0; !stop; n++) {
        const auth = await policy.authorize(costing(0.001, { labels: { user_id: `other-${i}-${n}` } }));
        await auth.settle(used(0.001));
      }
    });
    const short = watch(policy.authorize(costing(0.5, { labels: { user_id: "ada" }, waitMs: 500 })));
    await pass(clock, 700, 5);
    expect(short.state).toBe("failed");
    stop = true;
    await pass(clock, 50, 5);
    await Promise.all(traffic);
  });
});

describe("an id", () => {
  it("whose reserve was given up is not let through a second time, also under allow", async () => {
    const clock = new ManualClock();
    const ledger = new MemoryLedger({ clock });
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })], { clock, store: ledger, onStoreFailure: "allow" });
    const meters = [] as const;
    ledger.release({ id: "x", epoch: "", meters, amounts: [], expiresAt: clock.now() + 60_000, onExpiry: "charge" });
    expect(await failure(policy.authorize(costing(5, { id: "x" })))).toMatchObject({ code: "DUPLICATE_CALL" });
  });

  it("of a record is not that of a call, and is known for a day", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 100 })]);
    await policy.authorize(costing(5, { id: "job" }));
    await policy.record({ id: "job", costUsd: 1 });
    expect(await month(policy)).toEqual({ spentUsd: 1, heldUsd: 5 });
    await pass(clock, 3 * 3_600_000, 1_000_000);
    expect(await policy.record({ id: "job", costUsd: 1 })).toMatchObject({ costUsd: 0, duplicate: true });
    expect(await failure(policy.authorize(costing(1, { id: " record job" })))).toMatchObject({ field: "id" });
  });

  it("in a ticket of another ledger closes that ledger's call, not one's own", async () => {
    const [one, two] = [bench([new MonthlyBudgetRule({ maxUsd: 10 })]), bench([new MonthlyBudgetRule({ maxUsd: 10 })])];
    const foreign = await one.policy.authorize(costing(1, { id: "same" }));
    await two.policy.authorize(costing(2, { id: "same" }));
    await two.policy.settle(foreign.ticket, used(0.5));
    expect((await month(two.policy)).heldUsd).toBe(2);
  });
});

describe("a call that outlives maxCallMs", () => {
  it("is charged its bound then, and what its bill is above that when the bill comes, once", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 100 })], { maxCallMs: 30_000, leaseMs: 15_000 });
    const auth = await policy.authorize(costing(1));
    await pass(clock, 40_000, 1_000);
    expect(await month(policy)).toEqual({ spentUsd: 1, heldUsd: 0 });
    expect(await auth.settle(used(5))).toMatchObject({ costUsd: 4, estimated: false });
    await auth.settle(used(5));
    expect(await month(policy)).toEqual({ spentUsd: 5, heldUsd: 0 });
  });

  it("whose bill is under what was charged stays charged", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 100 })], { maxCallMs: 30_000, leaseMs: 15_000 });
    const auth = await policy.authorize(costing(1));
    await pass(clock, 40_000, 1_000);
    expect(await auth.settle(used(0.2))).toMatchObject({ costUsd: 0, duplicate: true });
    expect((await month(policy)).spentUsd).toBe(1);
  });
});

describe("receipts add up to the ledger", () => {
  it("also when a call is closed twice by its ticket", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 10 })]);
    const other = bench([], { store: policy.ledger });
    const { ticket } = await policy.authorize(costing(1));
    const receipts = [await other.policy.settle(ticket, used(0.2)), await other.policy.settle(ticket, used(0.9))];
    expect(receipts.map(({ costUsd }) => costUsd)).toEqual([0.2, 0]);
    expect((await month(policy)).spentUsd).toBe(0.2);
  });
});

describe("a stream is never free", () => {
  const request = { model: "flat", inputTokens: 100, maxOutputTokens: 1_000 };
  const spent = async (chunks: readonly unknown[], read = Infinity, usageOf?: () => never) => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 100 })]);
    const invalid = heard(policy, "usage-invalid");
    let left = read;
    for await (const _ of await policy.run(request, () => streamOf(chunks), usageOf)) if (--left === 0) break;
    return { ...(await month(policy)), invalid: invalid.length };
  };
  const many = <T>(chunk: T) => Array.from({ length: 40 }, () => chunk);

  it("when its usage says zero all the way and it is broken off", async () => {
    expect(await spent(many({ ...text("word"), ...tokens(0, 0) }), 20)).toMatchObject({ spentUsd: 0.12, heldUsd: 0 });
    expect(await spent(many({ ...text("word"), ...tokens(100, 0) }))).toMatchObject({ spentUsd: 0.14 });
  });

  it("when its usage came before most of its text", async () => {
    expect(await spent([tokens(100, 1), ...many(text("word"))])).toMatchObject({ spentUsd: 0.14, heldUsd: 0 });
  });

  it("when its chunks have a shape that is not known", async () => {
    expect((await spent(many({ candidates: ["hello"] }), 20)).spentUsd).toBeGreaterThanOrEqual(0.12);
    expect((await spent(many(new Uint8Array(8)), 20)).spentUsd).toBeGreaterThanOrEqual(0.12);
  });

  it("when it ends without a usage or any text: then it is charged its bound, and told", async () => {
    expect(await spent([{ choices: [] }])).toEqual({ spentUsd: 1.1, heldUsd: 0, invalid: 1 });
  });

  it.each([
    { title: "throws", value: () => expect.fail("looked at") },
    { title: "is a symbol", value: () => Symbol("tokens") },
  ])("nor fails its reader when the usage's outputTokens $title", async ({ value }) => {
    const usage = Object.defineProperty({ inputTokens: 1 }, "outputTokens", { get: value, enumerable: true });
    const read = spent(many(text("word")), 20, () => usage as never);
    expect(await read).toMatchObject({ heldUsd: 0, spentUsd: 1.1, invalid: 1 });
  });

  it("counts LangChain's content, legacy function calls, and a Responses text once", async () => {
    expect((await spent([{ content: "a".repeat(40) }])).spentUsd).toBe(0.11);
    const call = { choices: [{ delta: { function_call: { name: "f", arguments: "a".repeat(39) } } }] };
    expect((await spent([call])).spentUsd).toBe(0.11);
    const responses = [
      { type: "response.output_text.delta", delta: "a".repeat(40) },
      { type: "response.output_text.done", text: "a".repeat(40) },
    ];
    expect((await spent(responses)).spentUsd).toBe(0.11);
  });
});

describe("operators", () => {
  it("a freeze stands although a change beside it clears away what is over", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 10 })]);
    const why = { by: "grace", reason: "loop" };
    await policy.freeze({ ...why, until: clock.now() + 1_000 });
    clock.advance(2_000);
    await Promise.all([policy.freeze(why), policy.adjust("MonthlyBudgetRule", { ...why, addUsd: 1 })]);
    expect((await refusal(policy.authorize(costing(1)))).ruleName).toBe("Freeze");
    expect(await policy.evaluate(costing(1))).toMatchObject([{ rule: "Freeze", allow: false }, { allow: true }]);
  });
});

describe("operators and limits on one request", () => {
  it("an adjustment moves the limit of a single call, in every engine on the ledger", async () => {
    const rules = () => [new MaxCostPerRequestRule({ maxUsd: 1 })];
    const { policy, clock } = bench(rules());
    const other = bench(rules(), { clock, store: policy.ledger });
    const large = costing(1.5);
    await refusal(other.policy.authorize(large));
    const why = { by: "grace", reason: "long report" };
    await policy.adjust("MaxCostPerRequestRule", { ...why, addUsd: 1 });
    await (await other.policy.authorize(large)).release();
    expect((await refusal(other.policy.authorize(costing(2.5)))).decision.metadata).toMatchObject({ maxUsd: 2 });
  });
});

describe("a policy that is closed", () => {
  it("does not let in who was waiting", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    const first = await policy.authorize(costing(1));
    const waiting = watch(policy.authorize(costing(1)));
    await pass(clock, 100);
    await policy.close();
    await first.release();
    await pass(clock, 500);
    expect(waiting).toMatchObject({ state: "failed", error: { field: "policy" } });
  });
});

describe("a rule", () => {
  it("cannot write into the labels it sees", async () => {
    const vandal = {
      name: "Vandal",
      evaluate({ labels }: { labels: object }) {
        Object.assign(labels, { user_id: "bob" });
        return RuleDecision.allow();
      },
    };
    const { policy } = bench([vandal], { defaultLabels: { user_id: "ada" } });
    expect((await refusal(policy.authorize(costing(1)))).ruleName).toBe("Vandal");
  });

  it("that names a new model for ever does not hold the call up for ever", async () => {
    let rung = 0;
    const ladder = {
      name: "Ladder",
      evaluate: () =>
        RuleDecision.claim({ scope: "workspace", measure: "usd", window: { kind: "lifetime" }, limit: 0.001 }),
      onShortfall: () => RuleDecision.downgrade(`flat-${String(2_000 + rung++)}`),
    };
    const { policy } = bench([ladder], { unknownModel: { inputUsdPerMTok: 1_000, outputUsdPerMTok: 1_000 } });
    expect((await refusal(policy.authorize(costing(1)))).ruleName).toBe("Ladder");
    expect(rung).toBeLessThan(40);
  });
});

describe("an engine in shadow", () => {
  it("sends a call without a maximum as it is, opens accounts beyond maxAccounts, takes prompts it cannot bound", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 }), new ConcurrencyLimitRule({ maxConcurrent: 1 })], {
      mode: "shadow",
      maxAccounts: 1,
    });
    const open = { model: "flat", inputTokens: 10 };
    expect((await policy.authorize(open)).request.maxOutputTokens).toBeUndefined();
    await policy.authorize({ ...open, labels: { user_id: "ada" } });
    await policy.authorize({ model: "flat", messages: [], params: { previous_response_id: "r1" } });
  });
});

describe("a caller's maximum", () => {
  it.each([{ text: { format: { type: "json_schema" } } }, { function_call: { name: "f" } }])(
    "is not lowered where %o gives the answer a shape",
    async (params) => {
      const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 0.5 })], { clamp: true });
      await refusal(policy.authorize(costing(1, { params })));
      expect((await policy.authorize(costing(1))).request.maxOutputTokens).toBe(500);
    },
  );
});

describe("the usage of an answer", () => {
  it("that is all zeros is none", () => {
    expect(usageFromOpenAI({ prompt_tokens: 0, completion_tokens: 0 })).toBeUndefined();
  });

  it("of OpenRouter with a key of one's own has the provider's bill in its cost", () => {
    const raw = { prompt_tokens: 1, completion_tokens: 1, cost: 0, cost_details: { upstream_inference_cost: 4 } };
    expect(usageFromOpenAI(raw)).toMatchObject({ costUsd: 4 });
    expect(usageFromOpenAI({ ...raw, cost: 0.1, is_byok: true })).toMatchObject({ costUsd: 4.1 });
    expect(usageFromOpenAI({ ...raw, cost: 4 })).toMatchObject({ costUsd: 4 });
  });
});
