import fc from "fast-check";
import { expect, it } from "vitest";
import type { Receipt } from "../../src/domain/receipt.js";
import type { PolicyEngine } from "../../src/engine.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { PerUserBudgetRule } from "../../src/policy/rules/per-user-budget.js";
import { bench } from "./kit.js";

/** How a call of the property is sent and ended. */
const action = fc.record({
  user: fc.integer({ min: 0, max: 2 }),
  model: fc.constantFrom("flat", "small", "gpt-4o", "claude-sonnet-4-5"),
  inputTokens: fc.integer({ min: 0, max: 400 }),
  maxOutputTokens: fc.option(fc.integer({ min: 0, max: 500 }), { nil: undefined }),
  used: fc.double({ min: 0, max: 1.2, noNaN: true }),
  cached: fc.double({ min: 0, max: 1, noNaN: true }),
  end: fc.constantFrom(
    "settle",
    "settle twice",
    "ticket",
    "nothing known",
    "cost",
    "nonsense",
    "release",
    "release then settle",
    "fail",
    "fail unbilled",
    "stream",
    "broken stream",
    "record",
    "operation",
    "never",
  ),
  turns: fc.integer({ min: 0, max: 4 }),
});
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

const turns = async (n: number) => {
  for (let i = 0; i < n; i++) await Promise.resolve();
};

/** Does one call to its end. */
async function act(
  policy: PolicyEngine,
  { user, model, inputTokens, maxOutputTokens, used, cached, end, turns: n }: Action,
  i: number,
): Promise<void> {
  const labels = { user_id: `u${user}` };
  const out = Math.floor((maxOutputTokens ?? 300) * used);
  const usage = { inputTokens, outputTokens: out, cacheReadTokens: Math.floor(inputTokens * cached) };
  const request = {
    model,
    inputTokens,
    labels,
    waitMs: 0,
    ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
  };
  await turns(n);
  if (end === "record") {
    await policy.record({ id: `r${i % 4}`, usage: { ...usage, model }, labels });
    return;
  }
  if (end === "operation") {
    await policy.run({ operation: "search", costUsd: used / 7, labels, waitMs: 0 }, () => turns(n));
    return;
  }
  if (end === "fail" || end === "fail unbilled") {
    await policy.run(
      request,
      async () => (
        await turns(n),
        Promise.reject(Object.assign(new Error("x"), { status: end === "fail" ? 500 : 400 }))
      ),
    );
    return;
  }
  if (end === "stream" || end === "broken stream") {
    const source = async function* () {
      for (let chunk = 0; chunk < 3; chunk++) {
        await turns(n);
        yield { choices: [{ delta: { content: "x".repeat(out) } }] };
      }
      yield { choices: [], usage: { prompt_tokens: inputTokens, completion_tokens: out } };
    };
    for await (const _chunk of await policy.run(request, source)) if (end === "broken stream") break;
    return;
  }
  const auth = await policy.authorize(request);
  await turns(n);
  switch (end) {
    case "settle":
      await auth.settle(usage);
      break;
    case "settle twice":
      await Promise.all([auth.settle(usage), auth.settle({ ...usage, outputTokens: out + 1 }), auth.release()]);
      break;
    case "ticket":
      await policy.settle(auth.ticket, usage);
      await policy.settle(auth.ticket, usage);
      break;
    case "nothing known":
      await auth.settle();
      break;
    case "cost":
      await auth.settle({ costUsd: used / 3 });
      break;
    case "nonsense":
      await auth.settle({ ...usage, outputTokens: -1 });
      break;
    case "release":
      await Promise.all([auth.release(), auth.release()]);
      break;
    case "release then settle":
      await auth.release();
      await Promise.all([auth.settle(usage), auth.settle(usage)]);
      break;
    case "never":
      break;
  }
}

const nano = (usd: number) => Math.round(usd * 1e9);

it("the receipts add up to the ledger, to the nano-dollar, whatever was sent and however it ended", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 14 }), async (actions) => {
      const rules = [
        new MonthlyBudgetRule({ maxUsd: 3 }),
        new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 2 }),
        new BudgetRule({ maxUsd: 3, per: "lifetime" }),
        new BudgetRule({ maxUsd: 3, per: "hour", rolling: true }),
      ];
      const { policy } = bench(rules);
      const receipts: { user: string; receipt: Receipt }[] = [];
      const held = new Map<string, { user: string; heldUsd: number }>();
      policy.on("call-reserved", ({ id, labels, heldUsd }) => void held.set(id, { user: labels["user_id"]!, heldUsd }));
      policy.on("call-released", ({ id }) => void held.delete(id));
      policy.on("call-settled", ({ id, labels, receipt }) => {
        held.delete(id);
        receipts.push({ user: labels["user_id"]!, receipt });
      });
      await Promise.allSettled(actions.map((one, i) => act(policy, one, i)));

      for (const user of ["u0", "u1", "u2"]) {
        const sum = (all: boolean) =>
          receipts
            .filter((one) => all || one.user === user)
            .reduce((total, { receipt }) => total + nano(receipt.costUsd), 0);
        const open = (all: boolean) =>
          [...held.values()]
            .filter((one) => all || one.user === user)
            .reduce((total, { heldUsd }) => total + nano(heldUsd), 0);
        const rows = await policy.usage({ labels: { user_id: user } });
        expect(rows.map(({ spentUsd }) => nano(spentUsd))).toEqual([true, false, true, true].map(sum));
        expect(rows.map(({ heldUsd }) => nano(heldUsd))).toEqual([true, false, true, true].map(open));
        // A limit is passed by reported overruns and by what was never asked for, and by nothing else.
        const beyond = receipts.reduce(
          (total, { receipt }) =>
            total + nano(receipt.overshootUsd ?? 0) + (receipt.heldUsd === 0 ? nano(receipt.costUsd) : 0),
          0,
        );
        const late = actions.filter(({ end }) => end === "release then settle").length > 0;
        if (!late)
          for (const { spentUsd, heldUsd, maxUsd } of rows)
            expect(nano(spentUsd) + nano(heldUsd)).toBeLessThanOrEqual(nano(maxUsd) + beyond);
      }
    }),
    { numRuns: 1_000 },
  );
}, 60_000);
