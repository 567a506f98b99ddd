import type { PolicyEngine } from "@driftlock/core";

/** Shared by every copy of the package in the process. */
const key = Symbol.for("driftlock.langchain.captured");
const shared = globalThis as { [key]?: WeakMap<PolicyEngine, Set<string>> };
const captured = (shared[key] ??= new WeakMap());

/**
 * Runs that `govern` or the middleware meters for a policy: a physical call is metered once, also where a
 * `DriftlockCallbackHandler` of the same policy hears of it. Another policy's handler meters it for its own policy.
 *
 * A capture adds the run synchronously in its start, a handler waits one microtask before it looks: LangChain begins the
 * starts of a run's handlers in one turn, so the order of the handlers does not count.
 */
export function capturedRuns(policy: PolicyEngine): Set<string> {
  let runs = captured.get(policy);
  if (runs === undefined) captured.set(policy, (runs = new Set()));
  return runs;
}
