import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Authorization } from "@driftlock/core";
import type { Mission } from "../src/index.js";
import { bench, optionsOf } from "./kit.js";

const nano = (usd: number) => Math.round(usd * 1e9);

/** One thing that happens in a run. Money in cents. */
type Step =
  | { readonly do: "open"; readonly inside: number; readonly budget: number; readonly slice: number | undefined }
  | { readonly do: "call"; readonly inside: number; readonly cost: number }
  | { readonly do: "settle"; readonly call: number; readonly share: number }
  | { readonly do: "release"; readonly call: number }
  | { readonly do: "end"; readonly mission: number };

const index = fc.nat({ max: 30 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("open" as const),
      inside: index,
      budget: fc.integer({ min: 5, max: 100 }),
      slice: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant("call" as const), inside: index, cost: fc.integer({ min: 0, max: 30 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("settle" as const),
      call: index,
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("release" as const), call: index }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("end" as const), mission: index }) },
);

/** A mission beside what should stand in it. */
interface Told {
  readonly mission: Mission;
  readonly around: Told | undefined;
  readonly budget: number;
  direct: number;
  nested: number;
  calls: number;
}

interface Open {
  readonly auth: Authorization;
  readonly of: Told;
  readonly cents: number;
}

/** Plays the steps and keeps a plain account beside; answers both. */
async function play(steps: readonly Step[]) {
  const { missions, policy } = bench({ waitMs: 0 });
  const all: Told[] = [
    {
      mission: await missions.start(optionsOf({ missionId: "root", onExceed: "pause", budgetUsd: 1 })),
      around: undefined,
      budget: 1,
      direct: 0,
      nested: 0,
      calls: 0,
    },
  ];
  const open: Open[] = [];
  const charge = ({ of, cents }: Open, share: number) => {
    const usd = Math.ceil(cents * share * 1e7) / 1e9;
    of.direct += nano(usd);
    for (let around = of.around; around !== undefined; around = around.around) around.nested += nano(usd);
    return usd;
  };
  for (const each of steps) {
    if (each.do === "open") {
      const around = all[each.inside % all.length]!;
      const slice = each.slice === undefined ? {} : { slice: { usd: Math.min(each.slice, each.budget) / 100 } };
      const options = optionsOf({
        missionId: `m${all.length}`,
        onExceed: "pause",
        budgetUsd: each.budget / 100,
        ...slice,
      });
      const mission = await around.mission.within(() => missions.start(options)).catch(() => undefined);
      if (mission !== undefined)
        all.push({ mission, around, budget: each.budget / 100, direct: 0, nested: 0, calls: 0 });
    } else if (each.do === "call") {
      const of = all[each.inside % all.length]!;
      const request = { operation: "op", costUsd: each.cost / 100 };
      const auth = await of.mission.within(() => policy.authorize(request)).catch(() => undefined);
      if (auth === undefined) continue;
      open.push({ auth, of, cents: each.cost });
      for (let told: Told | undefined = of; told !== undefined; told = told.around) told.calls++;
    } else if (each.do === "end") {
      await all[each.mission % all.length]!.mission.end();
    } else if (open.length > 0) {
      const [call] = open.splice(each.call % open.length, 1);
      if (each.do === "release") await call!.auth.release();
      else await call!.auth.settle({ costUsd: charge(call!, each.share) });
    }
    for (const { mission, budget } of all) {
      expect(nano(mission.spent) + nano(mission.held), mission.id).toBeLessThanOrEqual(nano(budget));
    }
  }
  for (const call of open) await call.auth.settle({ costUsd: charge(call, 1) });
  for (const { mission } of all.toReversed()) await mission.end();
  return { all, missions };
}

describe("whatever happens in nested missions", () => {
  it(
    "every account adds up to the nano-dollar, no budget is passed, and nothing stays held",
    { timeout: 60_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
          const { all, missions } = await play(steps);
          for (const { mission, direct, nested, calls, budget } of all) {
            const stats = await missions.stats(mission.id);
            expect(nano(stats.directSpendUsd)).toBe(direct);
            expect(nano(stats.nestedSpendUsd)).toBe(nested);
            expect(nano(stats.totalCostUsd)).toBe(direct + nested);
            expect(direct + nested).toBeLessThanOrEqual(nano(budget));
            expect([stats.calls, stats.heldUsd, stats.unattributedUsd]).toEqual([calls, 0, 0]);
            for (const rows of [stats.models, stats.endpoints, stats.agents, stats.graph]) {
              expect(rows.reduce((sum, { costUsd }) => sum + nano(costUsd), 0)).toBe(direct + nested);
            }
          }
        }),
        { numRuns: 150 },
      );
    },
  );
});
