const texts = {
  DRIFTLOCK_MIDDLEWARE_ORDER:
    "driftlockMiddleware is not first in the agent's middleware: one before it called the model again, or runs before its gate. Put it first: middleware: [driftlockMiddleware(…), …].",
  DRIFTLOCK_NO_CHECKPOINTER:
    "driftlockMiddleware cannot interrupt: the agent has no checkpointer. A refusal is thrown instead. Give createAgent a checkpointer, and each run a configurable.thread_id.",
  DRIFTLOCK_NO_SIGNAL:
    "An agent runs inside a mission without its signal: when the mission is killed, tools that are under way are not stopped. Pass it on: agent.invoke(input, { signal: m.signal }).",
} as const;

/** What is wrong with how the middleware is used, each said once. */
export class Warnings {
  readonly #said = new Set<keyof typeof texts>();

  say(code: keyof typeof texts): void {
    if (this.#said.has(code)) return;
    this.#said.add(code);
    process.emitWarning(texts[code], { type: "DriftlockWarning", code });
  }
}
