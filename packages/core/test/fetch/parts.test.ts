import { describe, expect, it } from "vitest";
import type { Usage } from "../../src/domain/usage.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { bench, costing, failure, month } from "../engine/kit.js";

/** Pieces of a network, each with several events. */
async function* pieces(...each: string[][]) {
  yield* each.map((events) => ({ events }));
}

interface Piece {
  readonly events: string[];
}

describe("auth.meter with partsOf", () => {
  const policy = () => bench([new MonthlyBudgetRule({ maxUsd: 10 })]).policy;

  it("counts every part, and passes the chunks as they are", async () => {
    const metered = policy();
    const auth = await metered.authorize(costing(0.5));
    const seen: Piece[] = [];
    for await (const piece of auth.meter(pieces(["a", "b"], [], ["c"]), undefined, ({ events }: Piece) => events))
      seen.push(piece);
    expect(seen).toEqual([{ events: ["a", "b"] }, { events: [] }, { events: ["c"] }]);
    expect(await month(metered)).toEqual({ spentUsd: 0.003, heldUsd: 0 });
  });

  it("finds the usage in any part, and trusts it only when no text comes after it", async () => {
    const usageOf = (part: string): Usage | undefined =>
      part === "" ? { inputTokens: 0, outputTokens: 7 } : undefined;
    for (const [events, spentUsd] of [
      [["a", ""], 0.007],
      [["a", "", "b"], 0.007],
      [["a".repeat(40), "", "b"], 0.01],
    ] as const) {
      const metered = policy();
      const auth = await metered.authorize(costing(0.5));
      for await (const _piece of auth.meter(pieces([...events]), usageOf, ({ events }: Piece) => events));
      expect(await month(metered)).toEqual({ spentUsd, heldUsd: 0 });
    }
  });

  it("that throws costs the reader nothing, and the call something", async () => {
    const metered = policy();
    const auth = await metered.authorize(costing(0.5));
    const broken = () => {
      throw new Error("no parts");
    };
    let read = 0;
    for await (const _piece of auth.meter(pieces(["a"], ["b"]), undefined, broken)) read++;
    expect(read).toBe(2);
    expect((await month(metered)).spentUsd).toBe(0.002);
  });

  it("must be a function", async () => {
    const auth = await policy().authorize(costing(0.5));
    const metering = async () => auth.meter(pieces(), undefined, 7 as never);
    expect(await failure(metering())).toMatchObject({ field: "partsOf" });
    await auth.release();
  });
});
