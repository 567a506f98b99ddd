import { AsyncLocalStorage } from "node:async_hooks";
import { PolicyViolationError } from "@driftlock/core";

type Listener = (refusal: PolicyViolationError) => void;

/** Shared by every copy of the package in the process. */
const key = Symbol.for("driftlock.langchain.refusals");
const shared = globalThis as { [key]?: AsyncLocalStorage<Listener> };
const listeners = (shared[key] ??= new AsyncLocalStorage<Listener>());

/** Runs `run`; `listener` hears of every refusal inside it, also of one that the host swallows on its way up. */
export function hearRefusals<T>(listener: Listener, run: () => T): T {
  return listeners.run(listener, run);
}

/** LangChain's own mark for errors that must not be tried again: its retry middleware asks for it. */
const retryable = Symbol.for("langchain.errors.retryable");

/** ms. LangChain's own bound for waits it takes by itself. */
const MAX_WAIT_MS = 60_000;

/** What a policy answers. Its refusal is made known to LangChain's retries, and to whoever listens around the running code. */
export async function telling<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    const refusal = PolicyViolationError.find(error);
    if (refusal === undefined) throw error;
    markFinal(refusal);
    // LangChain's `withRetry` waits for as long as it says, were it until the month turns. The refusal's message tells it
    // all the same, and the status for the application's own response stays.
    if ((refusal.retryAfterMs ?? 0) > MAX_WAIT_MS) {
      Object.defineProperty(refusal, "httpStatus", { value: refusal.httpStatus, configurable: true });
      Reflect.deleteProperty(refusal, "retryAfterMs");
    }
    listeners.getStore()?.(refusal);
    throw error;
  }
}

/** Tells LangChain's retry middleware that trying again would not change the error. */
export function markFinal(error: object): void {
  Object.defineProperty(error, retryable, { value: false, configurable: true });
}
