import { describe, expect, it } from "vitest";
import { withAmbient } from "../../src/ambient/ambient.js";
import type { Context } from "../../src/domain/context.js";
import { RuleDecision } from "../../src/policy/decision.js";
import type { Rule } from "../../src/policy/rule.js";
import { MaxCostPerRequestRule } from "../../src/policy/rules/max-cost-per-request.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { RestrictModelRule } from "../../src/policy/rules/restrict-model.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { bench, costing, failure, refusal, settled, spend, watch } from "../engine/kit.js";

/** A rule that notes the model it is asked about and answers what `answer` says. */
function asked(
  name: string,
  log: string[],
  answer: (context: Context) => RuleDecision | Promise<RuleDecision> = () => RuleDecision.allow(),
): Rule {
  return {
    name,
    evaluate(context) {
      log.push(`${name} ${context.model}`);
      return answer(context);
    },
  };
}
const to = (downgradeTo: string, from?: string) =>
  new TagBasedModelDowngradeRule({
    name: `to ${downgradeTo}`,
    condition: ({ model }) => from === undefined || model === from,
    downgradeTo,
  });

describe("the order of rules", () => {
  it("is the order given; the first block ends the walk", async () => {
    const log: string[] = [];
    const rules = [
      asked("a", log),
      asked("b", log, () => RuleDecision.block({ reason: "b" })),
      asked("c", log, () => RuleDecision.block()),
    ];
    const violation = await refusal(bench(rules).policy.authorize(costing(0.1)));
    expect(violation).toMatchObject({ ruleName: "b", decision: { metadata: { reason: "b" } } });
    expect(log).toEqual(["a flat", "b flat"]);
  });

  it("goes on with ambient rules, outermost first", async () => {
    const log: string[] = [];
    const { policy } = bench([asked("engine", log)]);
    await withAmbient({ rules: [asked("outer", log)] }, () =>
      withAmbient({ rules: [asked("inner", log)] }, () => policy.authorize(costing(0.1))),
    );
    expect(log).toEqual(["engine flat", "outer flat", "inner flat"]);
  });

  it("holds for asynchronous rules too: none is asked before the one before it has answered", async () => {
    const log: string[] = [];
    const late = (name: string) =>
      asked(name, log, async () => {
        await settled();
        log.push(`${name} answers`);
        return RuleDecision.allow();
      });
    await bench([late("a"), asked("b", log), late("c")]).policy.authorize(costing(0.1));
    expect(log).toEqual(["a flat", "a answers", "b flat", "c flat", "c answers"]);
  });
});

describe("a downgrade", () => {
  it("is what the rules after it judge, and then every rule judges the new model once more", async () => {
    const log: string[] = [];
    const auth = await bench([asked("a", log), to("small"), asked("b", log)]).policy.authorize(costing(0.1));
    expect(auth.request.model).toBe("small");
    expect(log).toEqual(["a flat", "b small", "a small", "b small"]);
  });

  it("is refused when a rule before it restricts the target", async () => {
    const rules = [new RestrictModelRule({ disallowedModels: ["small"] }), to("small")];
    const violation = await refusal(bench(rules).policy.authorize(costing(0.1)));
    expect(violation).toMatchObject({ ruleName: "RestrictModelRule", decision: { metadata: { model: "small" } } });
  });

  it("saves a call from a rule after it that restricts the dear model, not from one before it", async () => {
    const restrict = new RestrictModelRule({ disallowedModels: ["flat"] });
    expect((await bench([to("small"), restrict]).policy.authorize(costing(0.1))).request.model).toBe("small");
    expect((await refusal(bench([restrict, to("small")]).policy.authorize(costing(0.1)))).ruleName).toBe(
      "RestrictModelRule",
    );
  });

  it("after another one wins", async () => {
    expect((await bench([to("small"), to("tiny")]).policy.authorize(costing(0.1))).request.model).toBe("tiny");
  });

  it("to each other's targets ends: each rule downgrades a call at most once", async () => {
    const log: string[] = [];
    const rules = [to("small", "flat"), to("flat", "small"), asked("last", log)];
    expect((await bench(rules).policy.authorize(costing(0.1))).request.model).toBe("flat");
    expect(log).toEqual(["last flat", "last flat"]);
    expect((await bench(rules).policy.authorize({ ...costing(0.1), model: "small" })).request.model).toBe("flat");
  });

  it("to the model itself is none", async () => {
    const log: string[] = [];
    await bench([to("flat"), asked("b", log)]).policy.authorize(costing(0.1));
    expect(log).toEqual(["b flat"]);
  });

  it("to a model without a price is refused as unknown", async () => {
    expect(await failure(bench([to("nobody's model")]).policy.authorize(costing(0.1)))).toMatchObject({
      code: "UNKNOWN_MODEL",
      model: "nobody's model",
    });
  });

  it("is sized and claimed with the new model's price", async () => {
    const rules = [new MonthlyBudgetRule({ maxUsd: 1 }), to("small"), new MaxCostPerRequestRule({ maxUsd: 0.05 })];
    const { policy } = bench(rules);
    const auth = await policy.authorize(costing(0.05));
    expect(auth.heldUsd).toBe(0.005);
    await auth.settle({ inputTokens: 0, outputTokens: 50 });
    expect(await policy.usage()).toMatchObject([{ spentUsd: 0.005, heldUsd: 0 }]);
  });

  it("of a plain decision needs a target; without one the call is refused", async () => {
    for (const metadata of [{}, { downgradeTo: 7 }, { downgradeTo: "" }]) {
      for (const decision of [
        { allow: true, action: "downgrade", metadata },
        new RuleDecision({ allow: true, action: "downgrade", metadata }),
      ]) {
        const rule = { name: "mine", evaluate: () => decision as RuleDecision };
        expect((await refusal(bench([rule]).policy.authorize(costing(0.1)))).ruleName).toBe("mine");
      }
    }
  });
});

describe("a block by a rule itself", () => {
  const block = { name: "last", evaluate: () => RuleDecision.block() };

  it("gives way to an earlier claim that has no room even with all holds returned", async () => {
    const { policy } = bench([
      new MonthlyBudgetRule({ maxUsd: 1 }),
      { ...block, when: ({ labels }) => labels["try"] === "it" },
    ]);
    await spend(policy, 1);
    const violation = await refusal(policy.authorize(costing(0.1, { labels: { try: "it" } })));
    expect(violation).toMatchObject({
      ruleName: "MonthlyBudgetRule",
      decision: { metadata: { spentUsd: 1, maxUsd: 1 } },
    });
  });

  it("stands when the earlier claim only lacks what calls under way hold, and nothing waits", async () => {
    const { policy, clock } = bench([
      new MonthlyBudgetRule({ maxUsd: 1 }),
      { ...block, when: ({ labels }) => labels["try"] === "it" },
    ]);
    await policy.authorize(costing(1));
    const timers = clock.pending;
    expect((await refusal(policy.authorize(costing(0.5, { labels: { try: "it" } })))).ruleName).toBe("last");
    expect(clock.pending).toBe(timers);
  });

  it("stands before a later claim without room", async () => {
    const { policy } = bench([
      { ...block, when: ({ labels }) => labels["try"] === "it" },
      new MonthlyBudgetRule({ maxUsd: 1 }),
    ]);
    await spend(policy, 1);
    expect((await refusal(policy.authorize(costing(0.1, { labels: { try: "it" } })))).ruleName).toBe("last");
  });

  it("is not hidden by an earlier rule in shadow", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 0, mode: "shadow" }), block]);
    expect((await refusal(policy.authorize(costing(0.1)))).ruleName).toBe("last");
  });
});

describe("of several claims without room", () => {
  it("the first in the rules' order is reported", async () => {
    const { policy } = bench([
      new MonthlyBudgetRule({ name: "a", maxUsd: 5 }),
      new MonthlyBudgetRule({ name: "b", maxUsd: 1 }),
      new MonthlyBudgetRule({ name: "c", maxUsd: 0.5 }),
    ]);
    expect((await refusal(policy.authorize(costing(2)))).ruleName).toBe("b");
  });

  it("one that cannot be waited for is reported before one that can, and nothing waits", async () => {
    const { policy } = bench([
      new MonthlyBudgetRule({ name: "busy", maxUsd: 1 }),
      new MaxCostPerRequestRule({ maxUsd: 5 }),
      new MonthlyBudgetRule({ name: "small", maxUsd: 0.5, scope: { label: "team" } }),
    ]);
    await policy.authorize(costing(0.9));
    const call = watch(policy.authorize(costing(0.6, { labels: { team: "red" } })));
    await settled();
    expect(call.error).toMatchObject({ ruleName: "small" });
  });
});
