import { describe, expect, it } from "vitest";
import type { Reading, Shortfall } from "../../src/domain/claim.js";
import type { Context } from "../../src/domain/context.js";
import type { Receipt } from "../../src/domain/receipt.js";
import { RuleDecision } from "../../src/policy/decision.js";
import type { Rule } from "../../src/policy/rule.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { RestrictModelRule } from "../../src/policy/rules/restrict-model.js";
import { bench, costing, failure, heard, month, pass, refusal, settled, spend, used, watch } from "./kit.js";

const usd = (limit: number) =>
  RuleDecision.claim({ scope: "workspace", measure: "usd", window: { kind: "lifetime" }, limit });

/** A rule that claims under `limit` and answers a refused claim with `answer`. */
function answering(
  limit: number,
  answer: (context: Context, shortfall: Shortfall) => RuleDecision | null | undefined,
  name = "mission",
): Rule {
  return { name, evaluate: () => usd(limit), onShortfall: answer };
}

describe("onShortfall", () => {
  it("hears of its own refused claim, in USD", async () => {
    const heardOf: Shortfall[] = [];
    const { policy } = bench([answering(1, (_context, shortfall) => (heardOf.push(shortfall), undefined))]);
    await spend(policy, 0.5);
    await policy.authorize(costing(0.2));
    await refusal(policy.authorize(costing(0.6)));
    expect(heardOf).toMatchObject([
      { limit: 1, settled: 0.5, held: 0.2, needed: 0.6, available: 0.3, waitable: false },
    ]);
  });

  it("may answer with a cheaper model, before anything waits", async () => {
    const { policy } = bench([answering(1, () => RuleDecision.downgrade("small"))]);
    const events = heard(policy, "call-waiting", "call-amended");
    await policy.authorize(costing(0.9));
    const auth = await policy.authorize(costing(0.5));
    expect(auth.request.model).toBe("small");
    expect(auth.heldUsd).toBe(0.05);
    expect(events.map(({ name }) => name)).toEqual(["call-amended"]);
  });

  it("is asked once a rung of a ladder, and then the call is refused", async () => {
    const asked: string[] = [];
    const ladder: Record<string, string> = { flat: "small", small: "tiny" };
    const rule = answering(1, ({ model }) => {
      asked.push(model);
      const next = ladder[model];
      return next === undefined ? null : RuleDecision.downgrade(next);
    });
    const { policy } = bench([rule]);
    await policy.record({ id: "a", costUsd: 0.99 });
    expect((await policy.authorize(costing(0.9))).request.model).toBe("tiny");
    expect(asked).toEqual(["flat", "small"]);
    await policy.record({ id: "b", costUsd: 1 });
    await refusal(policy.authorize(costing(0.9)));
    expect(asked).toEqual(["flat", "small", "flat", "small", "tiny"]);
  });

  it("that goes in circles ends", async () => {
    const { policy } = bench([
      answering(0, ({ model }) => RuleDecision.downgrade(model === "flat" ? "small" : "flat")),
    ]);
    expect((await refusal(policy.authorize(costing(0.1)))).ruleName).toBe("mission");
  });

  it("to a restricted model is refused by the rule that restricts it", async () => {
    const { policy } = bench([
      new RestrictModelRule({ disallowedModels: ["small"] }),
      answering(0, () => RuleDecision.downgrade("small")),
    ]);
    expect(await refusal(policy.authorize(costing(0.1)))).toMatchObject({
      ruleName: "RestrictModelRule",
      decision: { metadata: { model: "small" } },
    });
  });

  it("to a model without a price is refused as unknown, and told", async () => {
    const { policy } = bench([answering(0, () => RuleDecision.downgrade("nobody's"))]);
    const events = heard(policy, "call-denied");
    expect(await failure(policy.authorize(costing(0.1)))).toMatchObject({ code: "UNKNOWN_MODEL" });
    expect(events).toHaveLength(1);
  });

  it("may answer with a block of its own words", async () => {
    const { policy } = bench([answering(0, () => RuleDecision.block({ mission: "m1" }))]);
    expect(await refusal(policy.authorize(costing(0.1)))).toMatchObject({
      ruleName: "mission",
      decision: { metadata: { mission: "m1" } },
    });
  });

  it("that throws blocks with its name and the cause", async () => {
    const { policy } = bench([answering(0, () => expect.fail("broken"))]);
    expect(await refusal(policy.authorize(costing(0.1)))).toMatchObject({
      ruleName: "mission",
      cause: { message: "broken" },
    });
  });

  it("is asked also when others wait in line already", async () => {
    const { policy } = bench([
      answering(1, ({ labels }) => (labels["mission"] === undefined ? null : RuleDecision.downgrade("small"))),
    ]);
    const open = await policy.authorize(costing(1));
    const first = watch(policy.authorize(costing(0.5)));
    await settled();
    // Of `flat` it could never have so much: refused at once, were the rule not asked.
    const second = watch(policy.authorize(costing(1.2, { labels: { mission: "m1" } })));
    await settled();
    expect([first.state, second.state]).toEqual(["waiting", "waiting"]);
    await open.settle(used(0.1));
    await settled();
    expect([first.value?.heldUsd, second.value?.heldUsd]).toEqual([0.5, 0.12]);
  });

  it("does not bind a call that had to wait all the same: the rules judge what was asked for again", async () => {
    const { policy } = bench([answering(1, () => RuleDecision.downgrade("small"))]);
    const open = await policy.authorize(costing(1));
    const call = watch(policy.authorize(costing(0.5)));
    await settled();
    expect(call.state).toBe("waiting");
    await open.settle(used(0.1));
    await settled();
    expect(call.value?.request.model).toBe("flat");
  });

  it("is asked again after a wait: what was short then may fit now", async () => {
    const { policy } = bench([answering(1, () => null)]);
    const open = await policy.authorize(costing(1));
    const call = watch(policy.authorize(costing(0.5)));
    await settled();
    expect(call.state).toBe("waiting");
    await open.settle(used(0.1));
    await settled();
    expect(call.value?.request.model).toBe("flat");
  });
});

describe("onClosed", () => {
  /** A rule with two claims that notes what it hears. */
  function noting() {
    const log: { model: string; receipt: Receipt; readings: readonly Reading[] }[] = [];
    const rule: Rule = {
      name: "noting",
      evaluate: () => usd(100).claim({ scope: "user", measure: "calls", window: { kind: "lifetime" }, limit: 100 }),
      onClosed: ({ model }, receipt, readings) => void log.push({ model, receipt, readings }),
    };
    return { rule, log };
  }

  it("hears the receipt and its own meters, in the order of its claims, once", async () => {
    const { rule, log } = noting();
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 100 }), rule]);
    const auth = await policy.authorize(costing(0.5, { labels: { user_id: "ada" } }));
    const receipt = await auth.settle(used(0.2));
    await auth.settle(used(0.2));
    expect(log).toEqual([
      {
        model: "flat",
        receipt,
        readings: [
          { settled: 0.2, held: 0, count: 1, mean: 0.2, variance: 0 },
          { settled: 1, held: 0 },
        ],
      },
    ]);
  });

  it("hears of releases, streams and failed calls too", async () => {
    const { rule, log } = noting();
    const { policy } = bench([rule]);
    await (await policy.authorize(costing(0.5))).release();
    await policy.run(costing(0.5), () => Promise.reject(new Error("x"))).catch(() => undefined);
    const stream = async function* () {
      yield { choices: [], usage: { prompt_tokens: 0, completion_tokens: 5 } };
    };
    for await (const _chunk of await policy.run(costing(0.5), stream));
    expect(log.map(({ receipt }) => receipt.costUsd)).toEqual([0, 0.5, 0.005]);
    expect(log.map(({ readings }) => readings[0]!.settled)).toEqual([0, 0.5, 0.505]);
  });

  it("averages known costs only: α = 0.3", async () => {
    const { rule, log } = noting();
    const { policy } = bench([rule]);
    for (const cost of [1, 2]) await spend(policy, cost);
    await (await policy.authorize(costing(9))).settle();
    await spend(policy, 3);
    expect(log.at(-1)!.readings[0]).toMatchObject({ count: 3, mean: expect.closeTo(1.81, 9) });
  });

  it("that throws or rejects is reported and changes nothing", async () => {
    const reported: [string, string][] = [];
    const broken = (name: string, onClosed: () => unknown): Rule => ({
      name,
      evaluate: () => usd(100),
      onClosed: onClosed as () => void,
    });
    const rules = [broken("a", () => expect.fail("thrown")), broken("b", () => Promise.reject(new Error("rejected")))];
    const { policy } = bench(rules, {
      onListenerError: (error, name) => void reported.push([name, (error as Error).message]),
    });
    const auth = await policy.authorize(costing(0.1));
    expect(await auth.settle(used(0.1))).toMatchObject({ costUsd: 0.1 });
    await settled();
    expect(reported).toEqual([
      ["a.onClosed", "thrown"],
      ["b.onClosed", "rejected"],
    ]);
    expect(await policy.usage()).toMatchObject([{ spentUsd: 0.1 }, { spentUsd: 0.1 }]);
  });
});

it("rules are asked again after each wait: one that changed its mind meanwhile blocks", async () => {
  let allowed = true;
  const rule = {
    name: "mind",
    evaluate: () => (allowed ? RuleDecision.allow() : RuleDecision.block({ reason: "killed" })),
  };
  const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 }), rule]);
  const open = await policy.authorize(costing(1));
  const call = watch(policy.authorize(costing(0.5)));
  await pass(clock, 100);
  allowed = false;
  await open.settle(used(0.1));
  await settled();
  expect(call.error).toMatchObject({ ruleName: "mind" });
  expect(await month(policy)).toEqual({ spentUsd: 0.1, heldUsd: 0 });
});
