import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { Worker } from "./crew.js";
import { freshNamespace, sleep, stage, type Staged } from "./scene.js";

const who = { by: "grace", reason: "runaway agent" };
const ada = { labels: { user_id: "ada" } };
const bob = { labels: { user_id: "bob" } };

/** The operator sits in this process, the calls are made in another. */
let worker: Worker;
let desk: Staged;
beforeAll(() => {
  worker = new Worker();
});
afterAll(() => worker.kill());
beforeEach(async () => {
  const scene = {
    url: inject("redisUrl"),
    namespace: freshNamespace(),
    rules: [
      ["month", { maxUsd: 1 }],
      ["user", { userBudgets: {}, defaultMaxUsd: 0.5 }],
    ],
  } as const;
  desk = stage(scene);
  await worker.ask("open", scene);
  // It has made a call before: what it knows by now is no longer true when the operator acts.
  await pass();
  return () => desk[Symbol.asyncDispose]();
}, 30_000);

/** One call of $0.10 in the other process; it is not settled. */
const pass = (order: object = {}) => worker.ask("authorize", { usd: 0.1, waitMs: 0, ...order });
const refusal = (order: object = {}): Promise<unknown> =>
  pass(order).then(
    () => "let through",
    (error: unknown) => error,
  );

describe("freeze, in another process at its next call,", () => {
  it("refuses everything and says who, when and why, until thaw", async () => {
    const before = Date.now();
    await desk.policy.freeze(who);
    const metadata = { frozen: true, ...who, at: expect.any(String) as string, labels: {} };
    expect(await refusal()).toMatchObject({ name: "PolicyViolationError", ruleName: "Freeze", metadata });
    const { at } = ((await refusal()) as { metadata: { at: string } }).metadata;
    expect(Date.parse(at)).toBeGreaterThanOrEqual(before);
    expect(Date.parse(at)).toBeLessThanOrEqual(Date.now());
    const events = await worker.ask("denied");
    expect(events.at(-1)).toMatchObject({ ruleName: "Freeze", metadata });

    await desk.policy.thaw(who);
    await pass();
  });

  it("refuses the calls that carry its labels, and only these", async () => {
    await desk.policy.freeze({ ...who, ...ada });
    await pass();
    await pass(bob);
    expect(await refusal(ada)).toMatchObject({ ruleName: "Freeze", metadata: ada });
    await desk.policy.thaw({ ...who, ...ada });
    await pass(ada);
  });

  it("ends by itself at `until`", async () => {
    await desk.policy.freeze({ ...who, until: Date.now() + 1_000 });
    expect(await refusal()).toMatchObject({ ruleName: "Freeze" });
    await sleep(1_000);
    await pass();
  });

  it("can be made there and ended here", async () => {
    await worker.ask("freeze", who);
    await expect(desk.policy.authorize({ operation: "search", costUsd: 0.1 })).rejects.toThrow("grace");
    await desk.policy.thaw({ by: "linus", reason: "looked at it" });
    await pass();
  });
});

describe("adjust, in another process at its next call,", () => {
  it("raises and lowers one rule's limit", async () => {
    const users = Array.from({ length: 9 }, (_, i) => ({ labels: { user_id: `user-${i}` } }));
    for (const user of users) await pass(user);
    expect(await refusal(ada)).toMatchObject({ ruleName: "MonthlyBudgetRule" });
    await desk.policy.adjust("MonthlyBudgetRule", { addUsd: 0.1, ...who });
    await pass(ada);
    expect(await refusal(bob)).toMatchObject({ ruleName: "MonthlyBudgetRule" });
    await desk.policy.adjust("MonthlyBudgetRule", { addUsd: 5, ...who });
    await pass(bob);
    await desk.policy.adjust("MonthlyBudgetRule", { addUsd: -5, ...who });
    expect(await refusal(bob)).toMatchObject({ ruleName: "MonthlyBudgetRule" });
  });

  it("raises the limit of the calls that carry its labels, and only of these", async () => {
    for (let call = 0; call < 4; call++) await pass(call < 2 ? ada : bob);
    await desk.policy.adjust("PerUserBudgetRule", { addUsd: -0.3, ...ada, ...who });
    expect(await refusal(ada)).toMatchObject({ ruleName: "PerUserBudgetRule" });
    await pass(bob);
  });

  it("ends by itself at `until`, and counts once under one id", async () => {
    const raise = { addUsd: 0.2, until: Date.now() + 1_500, id: "ticket-7", ...who };
    await desk.policy.adjust("PerUserBudgetRule", { ...raise, ...ada });
    await worker.ask("adjust", { rule: "PerUserBudgetRule", ...raise, ...ada });
    for (let call = 0; call < 7; call++) await pass(ada);
    expect(await refusal(ada)).toMatchObject({ ruleName: "PerUserBudgetRule", metadata: { maxUsd: 0.7 } });
    await sleep(1_500);
    expect(await refusal(ada)).toMatchObject({ ruleName: "PerUserBudgetRule", metadata: { maxUsd: 0.5 } });
  });
});
