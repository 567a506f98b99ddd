import { describe, expect, it } from "vitest";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { VelocityLimitRule } from "../../src/policy/rules/velocity-limit.js";
import { bench, costing, failure, heard, month, refusal } from "./kit.js";

const budget = () => new MonthlyBudgetRule({ maxUsd: 1 });
const answer = (tokens: number) => ({
  choices: [{ message: { content: "hi" } }],
  usage: { prompt_tokens: 0, completion_tokens: tokens },
});

describe("run", () => {
  it("authorizes, calls with the amended request and settles by OpenAI's usage", async () => {
    const { policy } = bench([budget()]);
    const controller = new AbortController();
    const given = answer(250);
    const got = await policy.run({ model: "flat", inputTokens: 0, signal: controller.signal }, (request) => {
      expect(request).toMatchObject({ model: "flat", maxOutputTokens: 1_000, signal: controller.signal });
      return given;
    });
    expect(got).toBe(given);
    expect(await month(policy)).toEqual({ spentUsd: 0.25, heldUsd: 0 });
  });

  it("takes the usage from where usageOf finds it", async () => {
    const { policy } = bench([budget()]);
    await policy.run(
      costing(0.5),
      async () => ({ tokens: 30 }),
      ({ tokens }) => ({ inputTokens: 0, outputTokens: tokens }),
    );
    expect(await month(policy)).toEqual({ spentUsd: 0.03, heldUsd: 0 });
  });

  it("never calls what a rule refused", async () => {
    const { policy } = bench([new MonthlyBudgetRule({ maxUsd: 0 })]);
    await refusal(policy.run(costing(0.1), () => expect.fail("it was called")));
  });

  it("rethrows what the call throws, at once or later", async () => {
    const { policy } = bench([budget()]);
    const broken = new Error("broken");
    const thrower = () => {
      throw broken;
    };
    expect(await failure(policy.run(costing(0.1), thrower))).toBe(broken);
    expect(await failure(policy.run(costing(0.1), () => Promise.reject(broken)))).toBe(broken);
    expect(await month(policy)).toEqual({ spentUsd: 0.2, heldUsd: 0 });
  });

  it("charges an operation its fixed cost, whatever the answer looks like", async () => {
    const { policy } = bench([budget()]);
    const events = heard(policy, "usage-invalid");
    await policy.run({ operation: "search", costUsd: 0.1 }, () => undefined);
    await policy.run({ operation: "search", costUsd: 0.1 }, () => answer(1));
    expect(await month(policy)).toEqual({ spentUsd: 0.2, heldUsd: 0 });
    expect(events).toEqual([]);
  });
});

describe("the answer is returned, whatever bookkeeping does:", () => {
  it.each([
    ["no usage at all", { text: "hi" }],
    ["nothing", undefined],
    ["null", null],
    ["a word", "hi"],
    ["a usage that cannot be true", answer(Number.NaN)],
    ["a negative usage", answer(-5)],
    ["a usage of another shape", { usage: { prompt_tokens: "many" } }],
    ["usage: null", { usage: null }],
  ])("%s is settled at the bound and told", async (_what, given) => {
    const { policy } = bench([budget()]);
    const events = heard(policy, "usage-invalid", "call-settled");
    expect(await policy.run(costing(0.4), () => given)).toBe(given);
    expect(await month(policy)).toEqual({ spentUsd: 0.4, heldUsd: 0 });
    expect(events.map(({ name }) => name).sort()).toEqual(["call-settled", "usage-invalid"]);
    expect(events.find(({ name }) => name === "usage-invalid")!.event).toMatchObject({
      field: expect.stringMatching(/^usage/),
      message: expect.stringContaining("settled at its bound"),
    });
  });

  it("an answer whose usage throws when it is read", async () => {
    const { policy } = bench([budget()]);
    const given = Object.defineProperty({}, "usage", { get: () => expect.fail("broken") });
    expect(await policy.run(costing(0.4), () => given)).toBe(given);
    expect(await month(policy)).toEqual({ spentUsd: 0.4, heldUsd: 0 });
  });

  it("a usageOf that throws, answers nothing or nonsense", async () => {
    const { policy } = bench([budget()], { onListenerError: () => undefined });
    const events = heard(policy, "usage-invalid", "store-failed");
    const usages = [
      () => {
        throw new Error("odd shape");
      },
      () => undefined,
      () => null as never,
      () => "much" as never,
    ];
    for (const usageOf of usages) expect(await policy.run(costing(0.1), () => 7, usageOf)).toBe(7);
    expect(await month(policy)).toMatchObject({ spentUsd: 0.4, heldUsd: 0 });
    expect(events.map(({ name }) => name)).toEqual(usages.map(() => "usage-invalid"));
    expect(events[0]!.event).toMatchObject({ message: expect.stringContaining("odd shape") });
  });

  it("listeners, onClosed and reporters that throw or reject", async () => {
    const shout = () => {
      throw new Error("shout");
    };
    const rule = { ...{ name: "watcher", evaluate: budget().evaluate } };
    for (const onClosed of [shout, () => Promise.reject(new Error("late")) as unknown as void]) {
      const { policy } = bench([{ ...rule, onClosed }], { onListenerError: shout });
      for (const name of ["call-reserved", "call-settled"] as const) {
        policy.on(name, shout);
        policy.on(name, () => Promise.reject(new Error("late")));
      }
      expect(await policy.run(costing(0.1), () => answer(100))).toEqual(answer(100));
      expect(await month(policy)).toEqual({ spentUsd: 0.1, heldUsd: 0 });
    }
  });
});

describe("a call that fails", () => {
  const status = (code: number) => Object.assign(new Error(`${code}`), { status: code });
  const wrapped = (cause: unknown) => new Error("wrapped", { cause });

  it.each([
    ["400", status(400)],
    ["401", status(401)],
    ["429", status(429)],
    ["499", status(499)],
    ["a 4xx inside another error", wrapped(wrapped(status(404)))],
    ["a refused connection", wrapped(Object.assign(new Error("no"), { code: "ECONNREFUSED" }))],
    ["an unknown host", Object.assign(new Error("no"), { code: "ENOTFOUND" })],
  ])("with %s is released: certainly not billed", async (_what, error) => {
    const { policy } = bench([budget()]);
    const events = heard(policy, "call-released");
    expect(await failure(policy.run(costing(0.4), () => Promise.reject(error)))).toBe(error);
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0 });
    expect(events.map(({ event }) => event.reason)).toEqual(["unbilled"]);
  });

  it.each([
    ["500", status(500)],
    ["a 5xx around a 4xx", Object.assign(wrapped(status(400)), { status: 503 })],
    ["a reset connection", Object.assign(new Error("no"), { code: "ECONNRESET" })],
    ["a timeout", Object.assign(new Error("no"), { code: "ETIMEDOUT" })],
    ["an abort", new DOMException("stop", "AbortError")],
    ["a word", "broken"],
    ["nothing", undefined],
  ])("with %s is charged its bound: it may have been billed", async (_what, error) => {
    const { policy } = bench([budget()]);
    expect(await failure(policy.run(costing(0.4), () => Promise.reject(error)))).toBe(error);
    expect(await month(policy)).toEqual({ spentUsd: 0.4, heldUsd: 0 });
  });

  it("is released where isUnbilled says so; one that throws or answers no is not believed", async () => {
    const broken = new Error("not sent");
    const failing = (isUnbilled: (error: unknown) => boolean) =>
      bench([budget()], { isUnbilled, onListenerError: () => undefined });
    const free = failing((error) => error === broken).policy;
    expect(await failure(free.run(costing(0.4), () => Promise.reject(broken)))).toBe(broken);
    expect(await month(free)).toEqual({ spentUsd: 0, heldUsd: 0 });

    for (const isUnbilled of [
      () => false,
      () => "perhaps" as never,
      () => {
        throw new Error("confused");
      },
    ]) {
      const { policy } = failing(isUnbilled);
      expect(await failure(policy.run(costing(0.4), () => Promise.reject(broken)))).toBe(broken);
      expect(await month(policy)).toEqual({ spentUsd: 0.4, heldUsd: 0 });
    }
  });

  it("counts for its rate in any case", async () => {
    const { policy } = bench([new VelocityLimitRule({ maxRequests: 1, windowSeconds: 60 })]);
    await failure(policy.run(costing(0.1), () => Promise.reject(status(400))));
    await refusal(policy.run(costing(0.1), () => 1));
  });
});

describe("an aborted signal", () => {
  it("refuses the call before anything is held", async () => {
    const { policy } = bench([budget()]);
    const signal = AbortSignal.abort(new Error("too late"));
    expect(await failure(policy.run(costing(0.4, { signal }), () => expect.fail("it was called")))).toMatchObject({
      message: "too late",
    });
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0 });
  });

  it("that comes while the rules are asked gives everything back, and nothing is sent", async () => {
    const controller = new AbortController();
    const slow = {
      name: "slow",
      evaluate: async () => (controller.abort(new Error("never mind")), { allow: true }) as never,
    };
    const { policy } = bench([budget(), slow]);
    expect(
      await failure(policy.run(costing(0.4, { signal: controller.signal }), () => expect.fail("it was called"))),
    ).toMatchObject({ message: "never mind" });
    expect(await month(policy)).toEqual({ spentUsd: 0, heldUsd: 0 });
  });
});
