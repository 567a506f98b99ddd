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
  /** Stops keeping its slice. */
  stop: (() => void) | undefined;
  ending: Promise<void> | undefined;
}

/** The missions this process works with, each once, however many blocks of it are in them. */
export class Fleet {
  readonly #extension: PolicyExtension;
  readonly #live = new Map<string, Live>();

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
    const journal = new Journal(extension, id);
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
    const live: Live = { life, watch, journal, handle, rules, parent, users: 0, stop: undefined, ending: undefined };
    return live;
  }

  /** From now on this process works with the mission, and with those around it. */
  enter(live: Live): Live {
    const entered = this.#live.get(live.life.id) ?? live;
    this.#live.set(entered.life.id, entered);
    entered.users++;
    if (entered.parent !== undefined) this.enter(entered.parent);
    return entered;
  }

  async leave(live: Live): Promise<void> {
    if (live.users > 0 && --live.users === 0) {
      live.stop?.();
      live.stop = undefined;
      this.#live.delete(live.life.id);
      await live.journal.stop();
    }
    if (live.parent !== undefined) await this.leave(live.parent);
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

  end(live: Live, status: "completed" | "failed"): Promise<void> {
    return (live.ending ??= this.#ended(live, status));
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
    live.stop?.();
    live.stop = undefined;
    if (slice !== undefined) await this.#giveBack(live, slice);
    await this.leave(live);
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
