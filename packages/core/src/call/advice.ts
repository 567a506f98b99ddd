import type { Window } from "../domain/claim.js";
import type { Demand } from "./demand.js";

const HOUR_MS = 3_600_000;
const given = new Set<string>();

/** Says a thing about the set-up once per process. */
export function adviseOnce(code: string, message: string): void {
  if (given.has(code)) return;
  given.add(code);
  process.emitWarning(message, { code });
}

/** A budget that outlives processes needs a store that does: said when such a budget is first used on the implicit memory store. */
export class MemoryAdvice {
  #pending: boolean;

  constructor(store: unknown) {
    this.#pending = store === undefined;
  }

  admitted(demand: Demand): void {
    if (!this.#pending || !demand.rules().some(({ window, measure }) => measure !== "in-flight" && isLong(window)))
      return;
    this.#pending = false;
    adviseOnce(
      "DRIFTLOCK_MEMORY_STORE",
      "A budget over more than an hour is kept in this process's memory: a restart begins at zero. " +
        'Give a durable store (store: new Keyv(…)), or say store: "memory" if that is meant.',
    );
  }
}

function isLong(window: Window): boolean {
  switch (window.kind) {
    case "lifetime":
    case "days":
      return true;
    case "sliding":
      return window.ms > HOUR_MS;
    case "calendar":
      return window.unit !== "minute" && window.unit !== "hour";
  }
}
