import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { MonthlyBudgetRule } from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";
import { BaseCallbackHandler } from "@langchain/core/callbacks/base";
import { describe, expect, it } from "vitest";
import { billedUsd, failure, pass, perToken, setUp as setUpPriced, spend, tick } from "./harness.js";

/** A policy whose time stands until it is moved. */
async function setUp() {
  const time = new ManualClock();
  const prices = { overrides: { "gpt-4o": perToken } };
  const rules = [new MonthlyBudgetRule({ maxUsd: 10 })];
  return { time, ...(await setUpPriced({ rules, prices, clock: time, leaseMs: 60_000, maxCallMs: 600_000 })) };
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

describe("a call whose end LangChain never tells leaves no hold beyond its lease", () => {
  it("a stream that is broken off: the bound at the lease's end, what was streamed once nobody can come back", async () => {
    const { chat, policy, server, receipts, time } = await setUp();
    server.script({ hangAfterChunks: 6 });
    for await (const chunk of await chat().stream("Hi")) if (chunk.text !== "") break;
    await server.idle();
    const { held } = await spend(policy);
    expect(held).toBeGreaterThan(0.1);
    // Renewed once more for the tokens that came, then no longer.
    await pass(time, 85_000);
    expect(await spend(policy)).toEqual({ settled: held, held: 0 });
    await pass(time, 600_000);
    expect(receipts).toMatchObject([{ estimated: true }]);
    expect(await spend(policy)).toEqual({ settled: receipts[0]!.costUsd, held: 0 });
    expect(receipts[0]!.costUsd).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
    expect(receipts[0]!.costUsd).toBeLessThan(held);
  });

  it("a stream that is read slower than the lease is settled at its usage all the same", async () => {
    const { chat, policy, server, time } = await setUp();
    server.script({ usage: { completionTokens: 10, promptTokens: 5 } });
    let read = 0;
    for await (const _ of await chat().stream("Hi")) if (++read === 4) await pass(time, 200_000);
    expect(await spend(policy)).toEqual({ settled: 0.015, held: 0 });
  });

  it("a slow answer keeps its hold as long as it takes", async () => {
    const { chat, policy, server, time } = await setUp();
    server.script(async () => {
      await pass(time, 300_000);
      expect((await spend(policy)).held).toBeGreaterThan(0.1);
      return {};
    });
    await chat().invoke("Hi");
    expect((await spend(policy)).held).toBe(0);
  });

  it("a stream that is never read, once its garbage is collected", async () => {
    const { chat, policy, server, time } = await setUp();
    await (async () => void (await chat().stream("Hi")))();
    await server.idle();
    await lapsed(time, policy);
  });

  it("a call that another handler's start refused, once its garbage is collected", async () => {
    const { chat, policy, server, handler, time } = await setUp();
    const other = BaseCallbackHandler.fromMethods({
      handleChatModelStart() {
        throw new Error("not mine");
      },
    });
    other.raiseError = other.awaitHandlers = true;
    expect(await failure(chat({ callbacks: [handler, other] }).invoke("Hi"))).toMatchObject({ message: "not mine" });
    expect(server.requests).toEqual([]);
    await lapsed(time, policy);
  });

  async function lapsed(time: ManualClock, policy: Parameters<typeof spend>[0]) {
    expect((await spend(policy)).held).toBeGreaterThan(0);
    // What is collected is told in a later turn.
    for (let turn = 0; turn < 4; turn++) {
      collectGarbage();
      await tick();
    }
    await pass(time, 61_000);
    expect((await spend(policy)).held).toBe(0);
  }
});
