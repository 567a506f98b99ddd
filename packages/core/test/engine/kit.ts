import { expect } from "vitest";
import type { ModelRequest, RequestOptions } from "../../src/domain/request.js";
import { PolicyEngine } from "../../src/engine.js";
import { PolicyViolationError } from "../../src/errors/policy-violation-error.js";
import type { PolicyEventName, PolicyEvents } from "../../src/events/events.js";
import type { PolicyEngineOptions } from "../../src/options.js";
import type { Rule } from "../../src/policy/rule.js";
import { ManualClock } from "../../src/testing/manual-clock.js";

/** `flat` costs $0.001 a token, in and out; `small` a tenth of it; `tiny` a hundredth. */
const overrides = {
  flat: { inputUsdPerMTok: 1_000, outputUsdPerMTok: 1_000 },
  small: { inputUsdPerMTok: 100, outputUsdPerMTok: 100 },
  tiny: { inputUsdPerMTok: 10, outputUsdPerMTok: 10 },
};

export interface Bench {
  readonly policy: PolicyEngine;
  readonly clock: ManualClock;
}

/** A policy on a clock that stands at 10 March 2026, 12:00 UTC, with the prices above. */
export function bench(rules: readonly Rule[], options: Partial<PolicyEngineOptions> = {}): Bench {
  const clock = (options.clock as ManualClock | undefined) ?? new ManualClock();
  return { clock, policy: new PolicyEngine({ store: "memory", prices: { overrides }, ...options, clock, rules }) };
}

/** A call of `flat` that costs at most this many USD, and cannot be lowered. */
export function costing(usd: number, more: Partial<ModelRequest & RequestOptions> = {}): ModelRequest & RequestOptions {
  return { model: "flat", inputTokens: 0, maxOutputTokens: Math.round(usd * 1_000), ...more };
}

/** The usage of `flat` that costs this many USD. */
export function used(usd: number) {
  return { inputTokens: 0, outputTokens: Math.round(usd * 1_000) };
}

/** Sends and settles one call. */
export async function spend(policy: PolicyEngine, usd: number, labels: Record<string, string> = {}): Promise<void> {
  const auth = await policy.authorize(costing(usd, { labels }));
  await auth.settle(used(usd));
}

/** The violation a promise rejects with; anything else fails the test. */
export async function refusal(promise: Promise<unknown>): Promise<PolicyViolationError> {
  const outcome = await promise.then(
    () => "it was let through",
    (error: unknown) => error,
  );
  if (PolicyViolationError.isInstance(outcome)) return outcome;
  expect.fail(outcome instanceof Error ? `not a violation: ${outcome.stack}` : String(outcome));
}

/** Whatever a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<unknown> {
  const outcome = await promise.then(
    () => expect.fail("it did not fail"),
    (error: unknown) => ({ error }),
  );
  return outcome.error;
}

/** Everything told under these names from now on, in order. */
export function heard<Name extends PolicyEventName>(
  policy: PolicyEngine,
  ...names: Name[]
): { name: Name; event: PolicyEvents[Name] }[] {
  const log: { name: Name; event: PolicyEvents[Name] }[] = [];
  for (const name of names) policy.on(name, (event) => log.push({ name, event }));
  return log;
}

/** Lets everything that can go on without time passing go on. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves the clock in small steps, so that what one timer starts has happened when the next one rings. */
export async function pass(clock: ManualClock, ms: number, step = 50): Promise<void> {
  await settled();
  for (let left = ms; left > 0; left -= step) {
    clock.advance(Math.min(step, left));
    await settled();
  }
}

/** What a promise did so far. */
export function watch<T>(promise: Promise<T>): { state: "waiting" | "done" | "failed"; value?: T; error?: unknown } {
  const seen: { state: "waiting" | "done" | "failed"; value?: T; error?: unknown } = { state: "waiting" };
  promise.then(
    (value) => Object.assign(seen, { state: "done", value }),
    (error: unknown) => Object.assign(seen, { state: "failed", error }),
  );
  return seen;
}

/** USD spent and held by everybody this month. */
export async function month(
  policy: PolicyEngine,
  labels?: Record<string, string>,
): Promise<{ spentUsd: number; heldUsd: number }> {
  const rows = await policy.usage(labels === undefined ? {} : { labels });
  const row = rows.find(({ measure }) => measure === "usd") ?? expect.fail("no rule counts money");
  return { spentUsd: row.spentUsd, heldUsd: row.heldUsd };
}
