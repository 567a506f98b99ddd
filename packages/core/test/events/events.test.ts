import { describe, expect, it, vi } from "vitest";
import type { PolicyEventName } from "../../src/events/events.js";
import { BudgetRule } from "../../src/policy/rules/budget.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { RestrictModelRule } from "../../src/policy/rules/restrict-model.js";
import { TagBasedModelDowngradeRule } from "../../src/policy/rules/tag-based-model-downgrade.js";
import { bench, costing, failure, heard, pass, refusal, settled, spend, used } from "../engine/kit.js";

const SECRET = "the prompt's text";
const every: readonly PolicyEventName[] = [
  ...["call-reserved", "call-waiting", "call-denied", "call-amended", "call-shadowed", "call-settled", "call-released"],
  ...["lease-expired", "threshold-crossed", "store-failed", "usage-invalid"],
] as PolicyEventName[];
const request = {
  model: "flat",
  messages: [{ role: "user", content: SECRET }],
  maxOutputTokens: 100,
  params: { system: SECRET },
  tools: [{ name: SECRET }],
  labels: { user_id: "ada" },
};

describe("events", () => {
  it("are plain JSON-able objects without any text of the prompt", async () => {
    const { policy, clock } = bench([
      new MonthlyBudgetRule({ maxUsd: 2 }),
      new MonthlyBudgetRule({ name: "shadow", maxUsd: 0.001, mode: "shadow" }),
      new RestrictModelRule({ disallowedModels: ["tiny"] }),
      new TagBasedModelDowngradeRule({ condition: ({ labels }) => labels["plan"] === "free", downgradeTo: "small" }),
      { name: "throws", when: ({ labels }) => labels["throw"] === "y", evaluate: () => expect.fail("broken") },
    ]);
    const log = heard(policy, ...every);
    const auth = await policy.authorize(request);
    const waiting = policy.authorize(costing(1.6)).catch(() => undefined);
    await pass(clock, 10_100, 1_000);
    await waiting;
    await auth.settle(used(0.1));
    await (await policy.authorize({ ...request, labels: { plan: "free" } })).release();
    await refusal(policy.authorize({ ...request, model: "tiny" }));
    await refusal(policy.authorize({ ...request, model: "nobody's" }));
    await refusal(policy.authorize({ ...request, labels: { throw: "y" } }));
    await policy.run(request, () => ({ usage: { prompt_tokens: -1 } }));
    expect(new Set(log.map(({ name }) => name))).toEqual(
      new Set(every.filter((name) => !["lease-expired", "store-failed"].includes(name))),
    );
    for (const { name, event } of log) {
      const json = JSON.stringify(event);
      expect(JSON.parse(json), name).toEqual({
        ...event,
        ...("labels" in event ? { labels: { ...event.labels } } : {}),
      });
      expect(json, name).not.toContain(SECRET);
    }
  });

  it("of one call carry its id, its model and its labels", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 2 })]);
    const log = heard(policy, ...every);
    const auth = await policy.authorize({ ...request, maxOutputTokens: 10 });
    const receipt = await auth.settle(used(0.01));
    const call = { id: auth.id, model: "flat", labels: { user_id: "ada" } };
    expect(
      log.map(({ name, event }) => ({ name, ...event, labels: { ...(event as { labels: object }).labels } })),
    ).toEqual([
      { name: "call-reserved", ...call, heldUsd: auth.heldUsd, maxOutputTokens: 10, assumed: false },
      { name: "call-settled", ...call, receipt },
    ]);
  });

  it("come after the state has changed", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 2 })]);
    const states: unknown[] = [];
    const look = async () =>
      void states.push((await policy.usage()).map(({ spentUsd, heldUsd }) => [spentUsd, heldUsd])[0]);
    policy.on("call-reserved", look);
    policy.on("call-settled", look);
    const auth = await policy.authorize(costing(0.5));
    await settled();
    await auth.settle(used(0.5));
    await settled();
    expect(states).toEqual([
      [0, 0.5],
      [0.5, 0],
    ]);
  });

  it("say why a call was denied, and when there is room again", async () => {
    const { policy } = bench([new BudgetRule({ maxUsd: 1, per: "hour" })]);
    const log = heard(policy, "call-denied");
    await spend(policy, 1);
    const { decision, retryAfterMs } = await refusal(policy.authorize(costing(0.1)));
    expect(log.map(({ event }) => event)).toMatchObject([
      { ruleName: "BudgetRule", code: "POLICY_VIOLATION", metadata: decision.metadata, retryAfterMs },
    ]);
    expect(retryAfterMs).toBe(3_600_000);
  });

  it("stop when the listener stops", async () => {
    const { policy } = bench([]);
    const listener = vi.fn();
    const stop = policy.on("call-settled", listener);
    await spend(policy, 0.1);
    stop();
    await spend(policy, 0.1);
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it("go to listeners that throw without any harm: the error is reported with the event's name", async () => {
    const reported: string[] = [];
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })], {
      onListenerError: (_error, name) => void reported.push(name),
    });
    for (const name of every) policy.on(name, () => expect.fail("listener"));
    await spend(policy, 1);
    await refusal(policy.authorize(costing(0.1)));
    expect(reported).toEqual([
      "call-reserved",
      "threshold-crossed",
      "threshold-crossed",
      "threshold-crossed",
      "call-settled",
      "call-denied",
    ]);
  });

  it("of a listener that fails without onListenerError become a process warning", async () => {
    const warning = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    const { policy } = bench([]);
    policy.on("call-settled", () => expect.fail("listener"));
    await spend(policy, 0.1);
    expect(warning.mock.calls.map(([, options]) => options)).toContainEqual({ code: "DRIFTLOCK_LISTENER" });
    warning.mockRestore();
  });
});

describe("threshold-crossed", () => {
  const told = (policy: ReturnType<typeof bench>["policy"]) => {
    const log = heard(policy, "threshold-crossed");
    return () => log.map(({ event }) => event.percent);
  };

  it("is told at 50, 80 and 100 %, once each in a window", async () => {
    const { policy, clock } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    const percents = told(policy);
    for (let i = 0; i < 10; i++) await spend(policy, 0.1);
    expect(percents()).toEqual([50, 80, 100]);
    clock.advanceTo(Date.parse("2026-04-01T00:00:00Z"));
    await spend(policy, 0.5);
    expect(percents()).toEqual([50, 80, 100, 50]);
  });

  it("is told for all that one call passes, with the numbers", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1, scope: "user" })]);
    const log = heard(policy, "threshold-crossed");
    await spend(policy, 0.8, { user_id: "ada" });
    const event = { ruleName: "MonthlyBudgetRule", scope: "user", spentUsd: 0.8, maxUsd: 1 };
    expect(log.map(({ event: told_ }) => told_)).toEqual([
      { ...event, percent: 50 },
      { ...event, percent: 80 },
    ]);
  });

  it("is told once though calls settle in parallel, twice or by ticket", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    const percents = told(policy);
    const calls = await Promise.all(Array.from({ length: 10 }, () => policy.authorize(costing(0.1))));
    await Promise.all(
      calls.flatMap((call) => [call.settle(used(0.1)), call.settle(used(0.1)), policy.settle(call.ticket, used(0.1))]),
    );
    expect(percents()).toEqual([50, 80, 100]);
  });

  it("is told by spend that was recorded too, and not by a release", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 1 })]);
    const percents = told(policy);
    await (await policy.authorize(costing(0.9))).release();
    expect(percents()).toEqual([]);
    await policy.record({ id: "a", costUsd: 0.6 });
    expect(percents()).toEqual([50]);
  });

  it("has no part in rolling windows, tokens or calls, and 0 has no percents", async () => {
    const { policy } = bench([
      new BudgetRule({ maxUsd: 1, per: "day", rolling: true }),
      new BudgetRule({ maxTokens: 1_000, per: "day" }),
      new BudgetRule({ maxCalls: 2, per: "day" }),
      new BudgetRule({ name: "none", maxUsd: 0, per: "day", mode: "shadow" }),
    ]);
    const percents = told(policy);
    await spend(policy, 1);
    expect(percents()).toEqual([]);
  });
});

it("an unknown event has no listeners that could be told", async () => {
  const { policy } = bench([]);
  const listener = vi.fn();
  policy.on("call-explained" as PolicyEventName, listener);
  await spend(policy, 0.1);
  await failure(policy.authorize({} as never));
  expect(listener).not.toHaveBeenCalled();
});
