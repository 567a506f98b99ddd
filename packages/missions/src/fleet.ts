import { currentAmbient, type AccountState, type Hold, type PolicyExtension } from "@driftlock/core";
import { MissionHandle } from "./handle.js";
import { rememberRun } from "./history.js";
import { ask } from "./interventions/callback.js";
import { Journal } from "./journal.js";
import { accountOf, Life } from "./life.js";
import { MissionRule } from "./mission-rule.js";
import { fail, text, type MissionHooks } from "./options.js";
import { keepSlice, reserveSlice } from "./slice.js";
import { notes, stateFrom, statusOf } from "./state.js";
import { Watch } from "./watch.js";

/** A mission that this process works with. */
export interface Live {
  readonly life: Life;
  readonly watch: Watch;
  readonly journal: Journal;
  readonly handle: MissionHandle;
  readonly rules: readonly MissionRule[];
  readonly parent: Live | undefined;
  /** How many blocks of this process are in it. */
  users: number;
  /** How many of them leave it when it ends. */
  owners: number;
  /** Stops keeping its slice. */
  stop: (() => void) | undefined;
  ending: Promise<void> | undefined;
  /** Its end found it paused: after a raise it goes on, and can end again. */
  isLeftPaused: boolean;
}

/** Journals kept of missions that this process has left. */
const MAX_LEFT = 64;

function journalKey({ id, state }: Life): string {
  return `${id} ${state.terms.startedAt}`;
}

/** The missions this process works with, each once, however many blocks of it are in them. */
export class Fleet {
  readonly #extension: PolicyExtension;
  readonly #live = new Map<string, Live>();
  /** Of missions this process has left: a step of an agent may be an `attach`. */
  readonly #left = new Map<string, Journal>();

  constructor(extension: PolicyExtension) {
    this.#extension = extension;
  }

  /** The mission around the running code, when it is one of this ledger. */
  async around(): Promise<Live | undefined> {
    const id = currentAmbient()?.mission?.id;
    return id === undefined ? undefined : this.load(id, {});
  }

  async known(id: string, hooks: MissionHooks): Promise<Live> {
    text("missionId", id);
    return (await this.load(id, hooks)) ?? fail("missionId", id, "is no mission in this policy's ledger");
  }

  async load(id: string, hooks: MissionHooks): Promise<Live | undefined> {
    const live = this.#live.get(id);
    if (live !== undefined) return live;
    const account = accountOf(this.#extension, id);
    const asked = this.#extension.ask("read", (ledger) => ledger.amend(account, {}));
    const { state } = await asked;
    const found = stateFrom(state);
    if (found === undefined) return undefined;
    const parent = found.terms.parent === undefined ? undefined : await this.load(found.terms.parent, {});
    const loaded = this.#live.get(id) ?? this.make(id, state, parent, !(asked instanceof Promise), hooks);
    await loaded.life.look();
    return loaded;
  }

  make(id: string, raw: AccountState, parent: Live | undefined, isLocal: boolean, hooks: MissionHooks): Live {
    const extension = this.#extension;
    const life = new Life(id, extension, raw, parent?.life, isLocal);
    const journal = this.#left.get(journalKey(life)) ?? new Journal(extension, id);
    const { callback, onWarning } = hooks;
    const watch = new Watch(life, {
      warn: () => {
        if (onWarning === undefined) return;
        const failed = (error: unknown) => extension.report(error, "onWarning");
        try {
          const answer = onWarning(handle);
          if (answer instanceof Promise) answer.catch(failed);
        } catch (error) {
          failed(error);
        }
      },
      ask: () =>
        callback === undefined
          ? { action: "pause", reason: "its callback is in another process" }
          : ask(id, () => callback(handle), extension.clock, life.state.terms.callbackTimeoutMs),
    });
    const rules = [...(parent?.rules ?? []), new MissionRule(life, watch, journal)];
    const handle = new MissionHandle(life, { rules, end: (status) => this.end(live, status) });
    const live: Live = {
      life,
      watch,
      journal,
      handle,
      rules,
      parent,
      users: 0,
      owners: 0,
      stop: undefined,
      ending: undefined,
      isLeftPaused: false,
    };
    return live;
  }

  /** From now on this process works with the mission, and with those around it. */
  enter(live: Live): Live {
    const entered = this.#live.get(live.life.id) ?? live;
    this.#live.set(entered.life.id, entered);
    if (entered.users++ === 0) entered.journal.resume();
    if (entered.parent !== undefined) this.enter(entered.parent);
    return entered;
  }

  async leave(live: Live): Promise<void> {
    const entered = this.#live.get(live.life.id);
    if (entered === undefined) return;
    if (--entered.users === 0) {
      entered.stop?.();
      entered.stop = undefined;
      this.#live.delete(entered.life.id);
      this.#remember(entered);
      await entered.journal.stop();
    }
    if (entered.parent !== undefined) await this.leave(entered.parent);
  }

  #remember({ life, journal }: Live): void {
    const key = journalKey(life);
    this.#left.delete(key);
    this.#left.set(key, journal);
    if (this.#left.size > MAX_LEFT) this.#left.delete(this.#left.keys().next().value!);
  }

  /** Keeps the mission's slice; where it was lost with the process that had it, what is left of it is set aside anew. */
  async keep(live: Live): Promise<void> {
    const { life, parent } = live;
    const { slice, terms, ended } = life.state;
    if (slice === undefined || parent === undefined || live.stop !== undefined || ended !== undefined) return;
    const extension = this.#extension;
    const [isOpen] = await extension.ask("renew", (ledger) => ledger.renew([slice], extension.leaseMs));
    let kept = slice;
    if (isOpen !== true) {
      const left = (terms.slice ?? 0) - Math.round(life.readings.spent * 1e9);
      if (left <= 0) return;
      const answer = await reserveSlice(extension, life.id, parent.life, left);
      if (answer.kind !== "held") return;
      kept = answer.hold;
      await life.amend({ notes: { [notes.slice]: JSON.stringify(kept) } });
    }
    live.stop = keepSlice(extension, kept);
  }

  /** Enters a mission until its end. */
  own(live: Live): Live {
    const entered = this.enter(live);
    entered.owners++;
    return entered;
  }

  async end(live: Live, status: "completed" | "failed"): Promise<void> {
    if (live.isLeftPaused && !live.life.state.isPaused) {
      live.isLeftPaused = false;
      live.ending = undefined;
    }
    await (live.ending ??= this.#ended(live, status));
    await this.#disown(live);
  }

  async #disown(live: Live): Promise<void> {
    while (live.owners > 0) {
      live.owners--;
      await this.leave(live);
    }
  }

  /** What the store refuses now it is given until it takes it: a run's answer does not wait for that. */
  async #ended(live: Live, status: "completed" | "failed"): Promise<void> {
    const { life } = live;
    const extension = this.#extension;
    try {
      await life.refresh();
      await life.look();
    } catch {
      // Told as `store-failed`. What is known here decides.
    }
    const { isPaused, ended, slice, terms } = life.state;
    if (!isPaused && ended === undefined) {
      const patch = { notes: { [notes.ended]: JSON.stringify({ status, at: extension.clock.now() }) } };
      try {
        await life.amend(patch, "ended");
      } catch {
        life.insist(patch, "ended");
      }
      rememberRun(extension, terms.name, life.id, life.readings.calls);
    }
    live.isLeftPaused = isPaused;
    live.stop?.();
    live.stop = undefined;
    if (slice !== undefined) await this.#giveBack(live, slice);
    await this.#disown(live);
    const { spentUsd, budgetUsd, callCount } = life.refused("block", "");
    const missionId = life.id;
    extension.emit("mission-ended", () => ({
      missionId,
      status: statusOf(life.state),
      spentUsd,
      budgetUsd,
      callCount,
    }));
  }

  async #giveBack({ life }: Live, slice: Hold): Promise<void> {
    try {
      await this.#extension.ask("release", (ledger) => ledger.release(slice));
    } catch {
      this.#extension.insist("release", life.id, (ledger) => ledger.release(slice));
    }
  }
}
