import { MonthlyBudgetRule } from "@driftlock/core";
import { describe, expect, it } from "vitest";
import { answering, costing, policyOf, spent } from "./kit.js";

const month = (maxUsd: number) => new MonthlyBudgetRule({ maxUsd });

describe("the cost of watching", () => {
  it("a throwing listener in a policy library ran one paid call three times: here it runs once", async () => {
    const { policy } = policyOf([month(1)], { onListenerError: () => undefined });
    for (const name of ["call-reserved", "call-settled"] as const) policy.on(name, () => expect.fail("listener"));
    let paid = 0;
    await policy.run(costing(0.1), () => (paid++, answering(0.1)));
    expect(paid).toBe(1);
  });

  it("alerts that stall the caller: a listener that never answers holds nothing up", async () => {
    const { policy } = policyOf([month(1)]);
    policy.on("call-settled", () => new Promise(() => undefined));
    await policy.run(costing(0.1), () => answering(0.1));
    expect(await spent(policy)).toBe(0.1);
  });
});
