import { describe, expect, it } from "vitest";
import { missionExceptions } from "./mission-exceptions.js";
import { expectedOf, playMission, playStatus, type MissionVector, type StatusVector } from "./play-missions.js";
import { origin } from "./vectors.js";

const vectors = origin["missions"] as readonly MissionVector[];
const statuses = origin["status_derivation"] as readonly StatusVector[];
const usual = vectors.filter(({ id }) => missionExceptions[id] === undefined);
const excepted = vectors.flatMap((vector) => {
  const exception = missionExceptions[vector.id];
  return exception === undefined ? [] : [{ id: vector.id, vector, exception }];
});

describe("the origin's facts about missions", () => {
  it("name every exception by the id of a vector, with a reason", () => {
    expect(Object.keys(missionExceptions).sort()).toEqual(excepted.map(({ id }) => id).sort());
    for (const { reason } of Object.values(missionExceptions)) expect(reason.length).toBeGreaterThan(40);
    expect(usual.filter(({ defect }) => defect !== undefined)).toEqual([]);
    expect(vectors.length + statuses.length).toBe(35);
  });
});

describe("a mission does what the origin's does, with interveneOn expected", () => {
  it.each(usual)("$id", async (vector) => {
    expect(await playMission(vector)).toEqual(subset(expectedOf(vector)));
  });

  it.each(statuses)("$id", async (vector) => {
    expect(await playStatus(vector)).toBe(vector.expect);
  });
});

describe("a mission differs on purpose", () => {
  it.each(excepted)("$id: $exception.reason", async ({ vector, exception }) => {
    const outcome = await playMission(vector);
    expect(outcome).toEqual(subset(exception.ours));
    expect(outcome, "the exception is not needed any more").not.toEqual(subset(expectedOf(vector)));
    // Whatever the exception does not name is as in the vector.
    const others = Object.entries(expectedOf(vector)).filter(([step]) => exception.ours[step] === undefined);
    for (const [step, expected] of others.filter(([name]) => name.endsWith("call") === false)) {
      expect(outcome[step]).toEqual(subset(expected as Record<string, unknown>));
    }
  });
});

/** Numbers within 1e-9, objects as subsets, as the vectors' own legend says. */
function subset(expected: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const inner = Object.entries(expected).map(([key, value]) => {
    if (typeof value === "number")
      return [key, expect.toSatisfy((found) => isNear(found, value), `near ${value}`) as unknown];
    return [key, typeof value === "object" && value !== null ? subset(value as Record<string, unknown>) : value];
  });
  return expect.objectContaining(Object.fromEntries(inner)) as Record<string, unknown>;
}

function isNear(found: unknown, value: number): boolean {
  return typeof found === "number" && Math.abs(found - value) <= 1e-9 * Math.max(1, Math.abs(value));
}
