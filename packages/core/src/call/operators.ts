import { readLabels } from "../ambient/ambient.js";
import type { Labels } from "../domain/labels.js";
import { MAX_USD, toNano } from "../domain/money.js";
import { ConfigError, reading } from "../errors/config-error.js";
import { CONTROL } from "../ledger/account.js";
import type { AccountPatch } from "../ledger/ledger.js";
import { Control } from "./control.js";
import type { Parts } from "./parts.js";
import { MAX_ID } from "./request.js";

export interface FreezeOptions {
  /** Calls carrying all of these; default: every call. */
  readonly labels?: Labels;
  /** Who decided, shown in the errors. */
  readonly by: string;
  readonly reason: string;
  /** It ends by itself then. Default: at `thaw`. */
  readonly until?: Date | number;
}

export interface AdjustOptions {
  /** USD added to the rule's limit; negative lowers it, never under 0. */
  readonly addUsd: number;
  /** Only for calls carrying all of these; default: every call. */
  readonly labels?: Labels;
  readonly until?: Date | number;
  readonly by: string;
  readonly reason: string;
  /** The same id counts once. Default: a fresh one. */
  readonly id?: string;
}

/** What operators do: changes of the control account, seen by every process at its next call. */
export class Operators {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async freeze(options: FreezeOptions): Promise<void> {
    const { labels, by, reason, until } = checked("freeze", options);
    const at = new Date(this.#parts.clock.now()).toISOString();
    await this.#amend({ by, reason, notes: Control.freezeNote({ labels, by, reason, at, ...until }) });
  }

  async thaw(options: FreezeOptions): Promise<void> {
    const { labels, by, reason } = checked("thaw", options);
    await this.#amend({ by, reason, notes: Control.thawNote(labels) });
  }

  async adjust(ruleName: string, options: AdjustOptions): Promise<void> {
    const { labels, by, reason, until, addUsd, id = crypto.randomUUID() } = checked("adjust", options);
    if (typeof ruleName !== "string" || ruleName === "") {
      throw new ConfigError({ field: "ruleName", value: ruleName, problem: "must be the name of a rule" });
    }
    if (!(typeof addUsd === "number" && Math.abs(addUsd) <= MAX_USD)) {
      throw new ConfigError({
        field: "adjust.addUsd",
        value: addUsd,
        problem: `must be a number of USD from -${MAX_USD} to ${MAX_USD}`,
      });
    }
    await this.#amend(
      {
        by,
        reason,
        notes: Control.adjustNote(id, { ruleName, addNano: toNano(addUsd), labels, by, reason, ...until }),
      },
      `adjust ${id}`,
    );
  }

  async #amend(patch: AccountPatch, onceId?: string): Promise<void> {
    const { ledger, guard, control, clock } = this.#parts;
    const { state: before } = await guard.ask("amend", undefined, () => ledger.amend(CONTROL, {}));
    const notes = { ...Control.staleNotes(before, clock.now()), ...patch.notes };
    const { state } = await guard.ask("amend", undefined, () => ledger.amend(CONTROL, { ...patch, notes }, onceId));
    control.take(state);
  }
}

/** Reads what operators changed, in any process. */
export async function readControl({ ledger, guard, control }: Parts, id?: string): Promise<void> {
  control.take((await guard.ask("read", id, () => ledger.amend(CONTROL, {}))).state);
}

function checked(call: string, options: FreezeOptions | AdjustOptions) {
  return reading(call, options, () => read(call, (options ?? {}) as Partial<FreezeOptions & AdjustOptions>));
}

function read(call: string, { labels = {}, by, reason, until, addUsd, id }: Partial<FreezeOptions & AdjustOptions>) {
  for (const [field, value] of Object.entries({ by, reason })) {
    if (typeof value !== "string" || value === "")
      throw new ConfigError({ field: `${call}.${field}`, value, problem: "must say something" });
  }
  const end = until instanceof Date ? until.getTime() : until;
  if (end !== undefined && !Number.isFinite(end)) {
    throw new ConfigError({ field: `${call}.until`, value: until, problem: "must be a Date or ms since the epoch" });
  }
  if (id !== undefined && (typeof id !== "string" || id === "" || id.length > MAX_ID)) {
    throw new ConfigError({ field: `${call}.id`, value: id, problem: `must be a string of 1 to ${MAX_ID} characters` });
  }
  return {
    labels: readLabels(labels),
    by: by!,
    reason: reason!,
    addUsd,
    id,
    until: end === undefined ? {} : { until: end },
  };
}
