import type { Labels } from "../domain/labels.js";
import { CONTROL } from "../ledger/account.js";
import type { AccountState, SeenState } from "../ledger/ledger.js";

/** An operator's stop. */
export interface Freeze {
  /** Calls carrying all of these; every call when empty. */
  readonly labels: Labels;
  readonly by: string;
  readonly reason: string;
  /** ISO 8601. */
  readonly at: string;
  /** ms since the epoch; it ends by itself then. */
  readonly until?: number;
}

/** An operator's change of one rule's limit. */
export interface Adjustment {
  readonly ruleName: string;
  readonly addNano: number;
  readonly labels: Labels;
  readonly by: string;
  readonly reason: string;
  readonly until?: number;
}

const FREEZE = "freeze ";
const ADJUST = "adjust ";

/**
 * What operators changed, as last read from the control account. Every reserve names the version it was decided by, so a
 * change takes effect in every process at its next call, without a read of its own.
 */
export class Control {
  #version = 0;
  /** The version the next call is decided by, and the same as a list. Made when it changes: every call names it. */
  seen: SeenState = { account: CONTROL, version: 0 };
  alone: readonly SeenState[] = [this.seen];
  #freezes: readonly Freeze[] = [];
  #adjustments: readonly Adjustment[] = [];

  get version(): number {
    return this.#version;
  }

  take(state: AccountState): void {
    this.#version = state.version;
    this.seen = { account: CONTROL, version: state.version };
    this.alone = [this.seen];
    this.#freezes = notes<Freeze>(state, FREEZE);
    this.#adjustments = notes<Adjustment>(state, ADJUST);
  }

  /** Whether anything is frozen at all. */
  get freezes(): boolean {
    return this.#freezes.length > 0;
  }

  frozen(labels: Labels, now: number): Freeze | undefined {
    return this.#freezes.find((freeze) => isOpen(freeze, now) && carries(labels, freeze.labels));
  }

  /** nano-USD that operators added to a rule's limit for a call with these labels. */
  addedTo(ruleName: string, labels: Labels, now: number): number {
    if (this.#adjustments.length === 0) return 0;
    return this.#adjustments
      .filter((change) => change.ruleName === ruleName && isOpen(change, now) && carries(labels, change.labels))
      .reduce((sum, change) => sum + change.addNano, 0);
  }

  static freezeNote(freeze: Freeze): Record<string, string> {
    return { [freezeKey(freeze.labels)]: JSON.stringify(freeze) };
  }

  static thawNote(labels: Labels): Record<string, null> {
    return { [freezeKey(labels)]: null };
  }

  static adjustNote(id: string, adjustment: Adjustment): Record<string, string> {
    return { [ADJUST + id]: JSON.stringify(adjustment) };
  }

  /** Adjustments whose time is over, so that the next change also clears them away. */
  static staleNotes(state: AccountState, now: number): Record<string, null> {
    const stale = Object.entries(state.notes).filter(
      // Not freezes: each has one note, which another process may just be renewing.
      ([key, note]) => key.startsWith(ADJUST) && !isOpen(JSON.parse(note) as { until?: number }, now),
    );
    return Object.fromEntries(stale.map(([key]) => [key, null]));
  }
}

function freezeKey(labels: Labels): string {
  return FREEZE + JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function notes<T>(state: AccountState, prefix: string): readonly T[] {
  return Object.entries(state.notes)
    .filter(([key]) => key.startsWith(prefix))
    .map(([, note]) => JSON.parse(note) as T);
}

function isOpen({ until }: { until?: number }, now: number): boolean {
  return until === undefined || now < until;
}

function carries(labels: Labels, wanted: Labels): boolean {
  return Object.keys(wanted).every((key) => labels[key] === wanted[key]);
}
