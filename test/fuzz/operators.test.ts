import { MonthlyBudgetRule, withAmbient, withLabels } from "@driftlock/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectUnharmed, fuzz, outcome, policyOf, sound } from "./fuzz.js";
import { always, hostile, nonsense } from "./hostile.js";

const policyWithBudget = () => policyOf([new MonthlyBudgetRule({ maxUsd: 1_000 })]);
const act = { by: "ada", reason: "a test" };

describe("what operators say", () => {
  it("to freeze and thaw is done, or refused by a typed error", async () => {
    await fuzz(400, hostile({ ...act, labels: { user_id: "ada" } }, "until"), async (recipe) => {
      const options = recipe.make();
      const policy = policyWithBudget();
      const frozen = await outcome(() => policy.freeze(options as never));
      const called = await outcome(() => policy.authorize({ ...sound, labels: { user_id: "ada" } }));
      if ("value" in called) await called.value.release();
      if ("value" in frozen) {
        expect(await outcome(() => policy.thaw(options as never))).toHaveProperty("value");
      }
      await expectUnharmed(policy);
    });
  });

  it("to adjust is done, or refused by a typed error", async () => {
    const input = fc.tuple(
      fc.oneof(fc.constant(always("MonthlyBudgetRule")), nonsense),
      hostile({ ...act, addUsd: 5 }, "labels", "until", "id"),
    );
    await fuzz(400, input, async ([rule, options]) => {
      const policy = policyWithBudget();
      await outcome(() => policy.adjust(rule.make() as string, options.make() as never));
      const [row] = await policy.usage();
      expect(row!.heldUsd).toBe(0);
      expect(Number.isFinite(row!.maxUsd)).toBe(true);
      if (row!.maxUsd >= 1) await policy.authorize(sound).then((auth) => auth.release());
    });
  });

  it("to ask, listen and close is answered, or refused by a typed error", async () => {
    const policy = policyWithBudget();
    await fuzz(300, fc.tuple(nonsense, nonsense), async ([first, second]) => {
      const [one, two] = [first.make(), second.make()];
      await outcome(() => policy.usage(one as never));
      const heard = await outcome(() => policy.on(one as never, two as never));
      if ("value" in heard) heard.value();
      await outcome(async () => (await policy.authorize(sound, one as never)).release());
      await outcome(async () => (await policy.authorize(sound, { ambient: one } as never)).release());
      await outcome(async () =>
        (await policy.authorize(sound, { ambient: { labels: {}, rules: one, mission: two } } as never)).release(),
      );
      if (typeof one !== "function") await outcome(() => policy.run(sound, one as never, two as never));
      const auth = await policy.authorize(sound);
      await outcome(() => auth.meter(one as never, two as never));
      await auth.release();
    });
    expect((await policy.usage())[0]!.heldUsd).toBe(0);
  });

  it("around a block of code is laid over it, or refused by a typed error", async () => {
    const policy = policyWithBudget();
    const call = async () => (await policy.authorize(sound)).release();
    await fuzz(
      400,
      fc.oneof(nonsense, hostile({ labels: { user_id: "ada" } }, "rules", "mission", "insideCall")),
      async (recipe) => {
        const ambient = recipe.make();
        await outcome(() => withAmbient(ambient as never, call));
        await outcome(() => withLabels(ambient as never, call));
      },
    );
    await expectUnharmed(policy);
  });
});
