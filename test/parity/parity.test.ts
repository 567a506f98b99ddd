import { describe, expect, it } from "vitest";
import { exceptions } from "./exceptions.js";
import { playEngine, playForecast, playLabels, playRule, playStream, type Outcome, type PlayOptions } from "./play.js";
import { origin, type Vector } from "./vectors.js";

/** The sections that are ours, and how each of their vectors is played. */
const sections: {
  readonly [Name in "policy_rules" | "policy_engine" | "forecast" | "labels" | "streaming"]: (
    vector: never,
    options?: PlayOptions,
  ) => Promise<Outcome>;
} = {
  policy_rules: playRule,
  policy_engine: playEngine,
  forecast: playForecast,
  labels: playLabels,
  streaming: playStream,
};
const vectors = Object.entries(sections).flatMap(([section, play]) =>
  (origin[section as keyof typeof sections] as readonly Vector[]).map((vector) => ({
    id: vector.id,
    vector,
    play: (options?: PlayOptions) => play(vector as never, options),
  })),
);
const usual = vectors.filter(({ id }) => exceptions[id] === undefined);
const excepted = vectors
  .filter(({ id }) => exceptions[id] !== undefined)
  .map((one) => ({ ...one, exception: exceptions[one.id]! }));

describe("the origin's facts", () => {
  it("are all here; those of missions stand in missions.test.ts", () => {
    const others = Object.keys(origin).filter((name) => !(name in sections));
    expect(others.sort()).toEqual(["meta", "missions", "status_derivation"]);
    expect(vectors.length).toBeGreaterThanOrEqual(25);
    expect(new Set(vectors.map(({ id }) => id)).size).toBe(vectors.length);
  });

  it("name every exception by the id of a vector, with a reason", () => {
    expect(Object.keys(exceptions).sort()).toEqual(excepted.map(({ id }) => id).sort());
    for (const { reason } of Object.values(exceptions)) expect(reason.length).toBeGreaterThan(40);
  });
});

describe("the successor does what the origin does", () => {
  const sound = usual.filter(({ vector }) => vector.defect === undefined);
  it.each(sound)("$id", async ({ vector, play }) => {
    for (const atMs of [0, 1_000]) expect(await play({ atMs })).toEqual(subset(vector.expect!));
  });
});

describe("the successor does not repeat the origin's defect", () => {
  const defects = usual.filter(({ vector }) => vector.defect !== undefined);
  it.each(defects)("$id", async ({ vector, play }) => {
    expect(
      vector.successor_expect,
      "a defect without successor_expect belongs into the table of exceptions",
    ).toBeDefined();
    const outcome = await play();
    expect(outcome).toEqual(subset(vector.successor_expect!));
    expect(outcome).not.toEqual(subset(vector.expect!));
  });
});

describe("the successor differs on purpose", () => {
  it.each(excepted)("$id: $exception.reason", async ({ vector, play, exception }) => {
    const { ours, holdsWithStrings, onlyAtMs } = exception;
    const wanted = vector.successor_expect ?? vector.expect!;
    const outcome = await play({ atMs: onlyAtMs ?? 0 });
    expect(outcome).toEqual(subset(ours));
    const isNeeded =
      vector.defect !== undefined && vector.successor_expect === undefined ? true : !matches(outcome, wanted);
    expect(isNeeded, "the exception is not needed any more").toBe(true);
    if (holdsWithStrings) expect(await play({ strings: true })).toEqual(subset(texts(wanted)));
    if (onlyAtMs !== undefined) expect(await play({ atMs: 0 })).toEqual(subset(wanted));
  });
});

/** Numbers within 1e-9, objects as subsets, as the vectors' own legend says. */
function subset(expected: Record<string, unknown>): Record<string, unknown> {
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

function matches(outcome: Outcome, expected: Record<string, unknown>): boolean {
  try {
    expect(outcome).toEqual(subset(expected));
    return true;
  } catch {
    return false;
  }
}

/** What labels come back as when they went in as strings. */
function texts(expected: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(expected).map(([key, value]) => [key, typeof value === "number" ? String(value) : value]),
  );
}
