import {
  RuleDecision,
  type AccountPatch,
  type AccountState,
  type Maybe,
  type MeterReading,
  type PolicyExtension,
  type Reading,
} from "@driftlock/core";
import { calls, directClaim, missionScope, tokens, usd } from "./accounts.js";
import type { Refused, RefusalAction } from "./errors.js";
import { proceed } from "./maybe.js";
import { toUsd } from "./nano.js";
import { project, type Observed, type Projection } from "./projection.js";
import { notes, stateFrom, type MissionState } from "./state.js";

/** What the meters of a mission show, in USD. */
export type Readings = { -readonly [Key in keyof Observed]: Observed[Key] } & { direct: number; tokens: number };

/** A paused mission is looked at so often (ms), should another process raise it. */
const POLL_MS = 200;

/**
 * A mission in this process: the ledger's state and meters as last known. What the ledger says decides; whatever a process
 * still believes is corrected at its next reserve, because every claim names the version it was made by.
 */
export class Life {
  readonly id: string;
  readonly parent: Life | undefined;
  readonly extension: PolicyExtension;
  /** The ledger answers at once. */
  readonly isLocal: boolean;
  readonly signal: AbortSignal;
  readonly readings: Readings = { spent: 0, held: 0, calls: 0, known: 0, mean: 0, variance: 0, direct: 0, tokens: 0 };
  readonly #account: string;
  readonly #controller = new AbortController();
  readonly #listeners = new Set<() => void>();
  #raw: AccountState;
  #state: MissionState;
  #direct!: RuleDecision;
  #nested!: RuleDecision;
  #refreshing: Promise<unknown> | undefined;

  /** @param raw The mission's state. Throws when the account is no mission's. */
  constructor(id: string, extension: PolicyExtension, raw: AccountState, parent: Life | undefined, isLocal: boolean) {
    this.id = id;
    this.extension = extension;
    this.parent = parent;
    this.isLocal = isLocal;
    this.signal =
      parent === undefined ? this.#controller.signal : AbortSignal.any([parent.signal, this.#controller.signal]);
    this.#account = accountOf(extension, id);
    this.#raw = raw;
    this.#state = this.#read(raw);
    this.#decide();
  }

  get state(): MissionState {
    return this.#state;
  }

  /** The state as stored. */
  get raw(): AccountState {
    return this.#raw;
  }

  /** The decision for a call that goes: its claims on this mission. */
  passOf(isDirect: boolean): RuleDecision {
    return isDirect ? this.#direct : this.#nested;
  }

  /** Learns a state, unless a newer one is known: answers may come out of order. */
  take(raw: AccountState): void {
    if (raw.version <= this.#state.version && raw.notes === this.#raw.notes) return;
    const state = this.#read(raw);
    // Another ledger may know another mission by this id: its money is not this one's.
    if (raw.notes[notes.terms] !== this.#raw.notes[notes.terms]) throw this.#foreign();
    if (state.version < this.#state.version) return;
    this.#raw = raw;
    this.#state = state;
    this.#decide();
    for (const tell of Array.from(this.#listeners)) tell();
  }

  /** Reads the state; at most one read at a time. */
  refresh(): Maybe<unknown> {
    if (this.#refreshing !== undefined) return this.#refreshing;
    const read = this.extension.ask("read", (ledger) => ledger.amend(this.#account, {}));
    const taken = proceed(read, ({ state }) => this.take(state));
    if (!(taken instanceof Promise)) return taken;
    const refreshing: Promise<unknown> = taken.finally(() => (this.#refreshing = undefined));
    return (this.#refreshing = refreshing);
  }

  /** Changes the state, once per `onceId`; whether it was this change. */
  amend(patch: AccountPatch, onceId?: string): Maybe<boolean> {
    const asked = this.extension.ask("amend", (ledger) => ledger.amend(this.#account, patch, onceId));
    return proceed(asked, ({ applied, state }) => {
      this.take(state);
      return applied;
    });
  }

  /** The same in the background, until the store has it. */
  insist(patch: AccountPatch, onceId: string): void {
    this.extension.insist("amend", this.id, (ledger) =>
      proceed(ledger.amend(this.#account, patch, onceId), ({ state }) => this.take(state)),
    );
  }

  /** Reads the meters. */
  look(): Maybe<void> {
    const { direct, nested } = { direct: this.#direct, nested: this.#nested };
    const claims = [...nested.claims, direct.claims.at(-1)!];
    const meters = claims.map((claim) => this.extension.meter(claim));
    return proceed(
      this.extension.ask("read", (ledger) => ledger.read(meters)),
      (found) => {
        const units = found.map((reading, i) => (claims[i]!.measure === "usd" ? inUsd(reading) : reading));
        this.#note(units, true);
      },
    );
  }

  /** Learns what the meters showed after a close. */
  observe(found: readonly Reading[], isDirect: boolean): void {
    // Closes can be heard of out of order: of two, the one that has seen more calls is the later.
    if (found[1]!.settled >= this.readings.calls) this.#note(found, isDirect);
  }

  /** The numbers as of now where the ledger answers at once, else as last heard. */
  current(): Readings {
    if (this.isLocal) void this.look();
    return this.readings;
  }

  projection(): Projection | undefined {
    const { expectedCalls, past } = this.#state.terms;
    return project(this.readings, { expectedCalls, past });
  }

  refused(action: RefusalAction, reason: string): Refused {
    const { spent, held, calls: callCount } = this.readings;
    const { budget, terms } = this.#state;
    const numbers = { spentUsd: spent, heldUsd: held, budgetUsd: toUsd(budget), callCount };
    return { missionId: this.id, name: terms.name, action, reason, ...numbers };
  }

  /** Stops what listens to the signal. */
  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  /** Waits until the state has changed, here or elsewhere, or the call is given up. */
  async changed(signal: AbortSignal | undefined): Promise<void> {
    const { version } = this.#state;
    const isOver = () => this.#state.version !== version || signal?.aborted === true || this.extension.isClosed();
    while (!isOver()) {
      await this.#moment(signal);
      if (!isOver()) await this.refresh();
    }
  }

  #moment(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        cancel();
        this.#listeners.delete(go);
        signal?.removeEventListener("abort", go);
        resolve();
      };
      const cancel = this.extension.clock.after(POLL_MS, go, { hold: true });
      this.#listeners.add(go);
      signal?.addEventListener("abort", go, { once: true });
    });
  }

  #read(raw: AccountState): MissionState {
    const state = stateFrom(raw);
    if (state !== undefined) return state;
    throw this.#foreign();
  }

  #foreign(): Error {
    return new Error(`the mission ${this.id} is not in this policy's ledger; a mission covers calls of one store`);
  }

  /** The claims depend on the state alone: they are made when it changes, not at every call. */
  #decide(): void {
    const { terms, version, slice } = this.#state;
    const scope = missionScope(this.id);
    const money = { ...usd(scope, "stored"), seen: version, ...(slice === undefined ? {} : { drawFrom: slice }) };
    const claims = [money, calls(scope, terms.maxCalls ?? Infinity)];
    if (terms.maxTokens !== undefined) claims.push(tokens(scope, terms.maxTokens));
    this.#nested = RuleDecision.claim(...claims);
    this.#direct = RuleDecision.claim(...claims, directClaim(this.id));
  }

  #note(found: readonly Reading[], isDirect: boolean): void {
    const { readings } = this;
    const money = found[0]!;
    readings.spent = money.settled;
    readings.held = money.held;
    readings.known = money.count ?? 0;
    readings.mean = money.mean ?? 0;
    readings.variance = money.variance ?? 0;
    readings.calls = found[1]!.settled;
    const limitsTokens = this.#state.terms.maxTokens !== undefined;
    if (limitsTokens) readings.tokens = found[2]!.settled;
    if (isDirect) readings.direct = found[limitsTokens ? 3 : 2]!.settled;
  }
}

/** The account of a mission's state. */
export function accountOf(extension: PolicyExtension, id: string): string {
  return extension.meter(usd(missionScope(id), "stored")).account;
}

function inUsd({ settled, held, count, mean, variance }: MeterReading): Reading {
  const reading = { settled: toUsd(settled), held: toUsd(held) };
  if (count === undefined || mean === undefined || variance === undefined) return reading;
  return { ...reading, count, mean: toUsd(mean), variance: toUsd(toUsd(variance)) };
}
