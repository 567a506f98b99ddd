const names: ReadonlySet<unknown> = new Set([
  "AbortError",
  "TimeoutError",
  "ModelAbortError",
  "APIUserAbortError",
  "APIConnectionTimeoutError",
]);
const messages: ReadonlySet<unknown> = new Set(["AbortError", "Aborted", "Request was aborted.", "Request timed out."]);

/** Whether a model call ended because the caller gave it up. Hosts and SDKs rename and wrap such errors. */
export function isAbort(error: unknown): boolean {
  for (let at = error, depth = 0; typeof at === "object" && at !== null && depth < 5; depth++) {
    const { name, message, cause } = at as { name?: unknown; message?: unknown; cause?: unknown };
    if (names.has(name) || messages.has(message)) return true;
    at = cause;
  }
  return false;
}
