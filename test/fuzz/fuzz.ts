import { inspect } from "node:util";
import {
  ConfigError,
  DriftlockError,
  PolicyEngine,
  PolicyViolationError,
  UsageError,
  type PolicyEngineOptions,
  type Rule,
} from "@driftlock/core";
import fc from "fast-check";
import { expect, vi } from "vitest";

/** The same inputs in every run, unless FUZZ_SEED says others; FUZZ_TIMES multiplies their number. */
const seed = Number(process.env["FUZZ_SEED"] ?? 20_260_310);
const times = Number(process.env["FUZZ_TIMES"] ?? 1);

vi.setConfig({ testTimeout: 30_000 * times });

/** Runs a property on `inputs` generated inputs. What fails is shown here: a test runner's own printer trips over such values. */
export async function fuzz<T>(
  inputs: number,
  arbitrary: fc.Arbitrary<T>,
  property: (input: T) => Promise<void> | void,
): Promise<void> {
  const checked = fc.asyncProperty(arbitrary, async (input) => property(input));
  const run = await fc.check(checked, { seed, numRuns: inputs * times });
  if (!run.failed) return;
  const { counterexample, counterexamplePath, errorInstance } = run;
  throw new Error(`seed ${seed}, path ${counterexamplePath}: ${shown(counterexample?.[0])}\n${shown(errorInstance)}`);
}

function shown(value: unknown): string {
  try {
    return inspect(value, { showProxy: true, depth: 5, maxStringLength: 200, maxArrayLength: 20 });
  } catch (error) {
    return `a value that cannot be shown: ${String(error)}`;
  }
}

/** The same price in and out, so that bounds are easy to read. */
export const prices = { overrides: { flat: { inputUsdPerMTok: 1_000, outputUsdPerMTok: 1_000 } } };

export const sound = { model: "flat", messages: [{ role: "user", content: "Hello" }], maxOutputTokens: 10 } as const;

/** Calls never wait here: nothing is in flight that could return. */
export function policyOf(rules: readonly Rule[], options: Partial<PolicyEngineOptions> = {}): PolicyEngine {
  return new PolicyEngine({ store: "memory", prices, waitMs: 0, onListenerError: () => {}, ...options, rules });
}

/** What came of an input: an answer, or an error that must be one of Driftlock's and say what was wrong. */
export async function outcome<T>(act: () => T | Promise<T>): Promise<{ value: T } | { error: DriftlockError }> {
  let error: unknown;
  try {
    return { value: await act() };
  } catch (thrown) {
    error = thrown;
  }
  return { error: typed(error) };
}

/** The error, if it is typed and its message names what it is about. */
function typed(error: unknown): DriftlockError {
  if (!DriftlockError.isInstance(error)) throw new Error(`not an error of Driftlock: ${shown(error)}`);
  expect(error.code).toMatch(/^[A-Z_]+$/);
  expect(error.message.length).toBeLessThan(2_000);
  if (ConfigError.isInstance(error) || UsageError.isInstance(error)) {
    expect(error.field).not.toBe("");
    expect(error).toHaveProperty("value");
    expect(error.message.startsWith(`${error.field}: `)).toBe(true);
  }
  if (PolicyViolationError.isInstance(error)) {
    expect(error.message).toContain("model" in error ? "No price is known" : error.ruleName.slice(0, 100));
    expect(error.decision.allow && error.decision.action !== "downgrade").toBe(false);
  }
  return error as DriftlockError;
}

/** Nothing is held, all that is not spent can be reserved at once, and sound calls go on working. */
export async function expectUnharmed(policy: PolicyEngine): Promise<void> {
  const [row] = (await policy.usage()).filter(({ measure, scope }) => measure === "usd" && scope === "workspace");
  expect(row!.heldUsd).toBe(0);
  const left = Math.round((row!.maxUsd - row!.spentUsd) * 1e9) / 1e9;
  const all = await policy.authorize({ operation: "everything", costUsd: left });
  expect(all.heldUsd).toBeCloseTo(left, 9);
  await all.release();
  const auth = await policy.authorize(sound);
  const receipt = await auth.settle({ inputTokens: 1, outputTokens: 1 });
  expect(receipt).toMatchObject({ costUsd: 0.002, estimated: false });
}
