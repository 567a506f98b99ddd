import { AsyncLocalStorage } from "node:async_hooks";
import type { Clock, Maybe } from "@driftlock/core";
import type { CallbackAnswer } from "../terms.js";

/** What the owner said, or what silence and nonsense mean. */
export interface Answer {
  readonly action: CallbackAnswer;
  readonly reason: string;
}

/** One storage for every copy of the package: the missions whose callbacks the running code is part of. */
const key = Symbol.for("driftlock.missions.asking");
const shared = globalThis as { [key]?: AsyncLocalStorage<ReadonlySet<string>> };
const asking = (shared[key] ??= new AsyncLocalStorage());

const nobody: ReadonlySet<string> = new Set();

/** Whether the running code is part of this mission's callback: its calls are claimed, but nobody is asked about them. */
export function isAsking(id: string): boolean {
  return asking.getStore()?.has(id) ?? false;
}

/** The missions whose callbacks the running code is part of. */
export function askers(): ReadonlySet<string> {
  return asking.getStore() ?? nobody;
}

/**
 * Asks the owner. Whatever is no answer (an error, nonsense, none within `timeoutMs`) pauses the mission: nothing more is let
 * through, and nothing is lost.
 */
export function ask(id: string, call: () => unknown, clock: Clock, timeoutMs: number): Maybe<Answer> {
  const inside = new Set(asking.getStore()).add(id);
  try {
    const answer = asking.run(inside, call);
    if (!isThenable(answer)) return read(answer);
    return Promise.race([Promise.resolve(answer).then(read, failed), silence(clock, timeoutMs, answer)]);
  } catch (error) {
    return failed(error);
  }
}

function silence(clock: Clock, timeoutMs: number, answer: PromiseLike<unknown>): Promise<Answer> {
  return new Promise((resolve) => {
    const reason = `its callback gave no answer within ${timeoutMs} ms`;
    const cancel = clock.after(timeoutMs, () => resolve({ action: "pause", reason }), { hold: true });
    answer.then(cancel, cancel);
  });
}

const reasons: Readonly<Record<CallbackAnswer, string>> = {
  continue: "its callback let it continue",
  downgrade: "its callback chose the downgrade",
  kill: "its callback ended it",
  pause: "its callback paused it",
};

function read(answer: unknown): Answer {
  if (typeof answer === "string" && Object.hasOwn(reasons, answer)) {
    return { action: answer as CallbackAnswer, reason: reasons[answer as CallbackAnswer] };
  }
  return { action: "pause", reason: `its callback answered none of ${Object.keys(reasons).join(", ")}` };
}

function failed(error: unknown): Answer {
  const message = error instanceof Error ? error.message : typeof error;
  return { action: "pause", reason: `its callback failed: ${message.slice(0, 200)}` };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}
