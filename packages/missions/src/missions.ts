import { withAmbient, type Hold, type Labels, type PolicyEngine, type PolicyExtension } from "@driftlock/core";
import { MISSION_LABEL } from "./accounts.js";
import { Catalogue } from "./catalogue.js";
import { Fleet, type Live } from "./fleet.js";
import { pastOf } from "./history.js";
import { accountOf } from "./life.js";
import type { Mission } from "./mission.js";
import { toUsd } from "./nano.js";
import {
  checkHooks,
  fail,
  oneOf,
  readObject,
  readOptions,
  termsOf,
  text,
  type MissionHooks,
  type MissionOptions,
} from "./options.js";
import { raise, readRaise, type RaiseOptions } from "./raise.js";
import { reserveSlice } from "./slice.js";
import { notes, statusOf, type MissionStatus } from "./state.js";
import { readStats, type MissionStats } from "./stats.js";
import { isAsyncIterable, streamed, type Streamed } from "./streamed.js";

export interface MissionsOptions {
  /** The policy whose ledger keeps the missions, and whose calls they cover. */
  readonly policy: PolicyEngine;
}

export interface AttachOptions extends MissionHooks {
  /** Ends the mission when `run` is done. Default false. */
  readonly end?: boolean | undefined;
}

export interface KillOptions {
  readonly by: string;
  readonly reason: string;
}

/** A line of `list`. Money in USD. */
export interface MissionRow {
  readonly id: string;
  readonly name: string;
  readonly status: MissionStatus;
  readonly parent: string | null;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly budgetUsd: number;
  readonly totalCostUsd: number;
  readonly calls: number;
  /** How many interventions the record holds. */
  readonly interventions: number;
}

/** Budgets for whole agent runs: each mission is an ambient rule for every call made in it, in any adapter. */
export class Missions {
  readonly #extension: PolicyExtension;
  readonly #catalogue: Catalogue;
  readonly #fleet: Fleet;

  /** @throws ConfigError */
  constructor(options: MissionsOptions) {
    const { policy } = readObject("missions", options) as Partial<MissionsOptions>;
    const extension = policy?.extension;
    if (typeof extension?.ask !== "function") fail("policy", policy, "must be a PolicyEngine");
    this.#extension = extension;
    this.#fleet = new Fleet(extension);
    this.#catalogue = new Catalogue(extension);
  }

  /**
   * Runs `run` in a new mission and ends it afterwards; answers what `run` answers and throws what it throws. A stream that
   * `run` answers stays in the mission until it is read to its end.
   * @throws ConfigError for bad options, or an id that is known; MissionBudgetExceededError when `slice` does not fit.
   */
  async run<T>(options: MissionOptions, run: (mission: Mission) => T | PromiseLike<T>): Promise<Streamed<T>> {
    checkRun(run);
    const live = await this.#start(options);
    return this.#within(live, run, (status) => this.#fleet.end(live, status));
  }

  /** A new mission as a handle: `await using m = await missions.start(…)`. Calls join it by `m.within` or `m.ambient`. */
  async start(options: MissionOptions): Promise<Mission> {
    return (await this.#start(options)).handle;
  }

  /** Continues a mission of this or another process, with its totals, status and options. It goes on afterwards, unless `end`. */
  async attach<T>(
    id: string,
    run: (mission: Mission) => T | PromiseLike<T>,
    options: AttachOptions = {},
  ): Promise<Streamed<T>> {
    checkRun(run);
    const { end = false, callback, onWarning, ...others } = readObject("attach", options) as AttachOptions;
    const hooks = { callback, onWarning };
    if (typeof end !== "boolean") fail("attach.end", end, "must be true or false");
    for (const [key, value] of Object.entries(others)) fail(`attach.${key}`, value, "is no option of attach");
    const live = this.#fleet.enter(await this.#fleet.known(id, hooks));
    try {
      checkHooks(hooks, live.users > 1 ? undefined : live.life.state.terms.onExceed);
      await this.#fleet.keep(live);
      await live.watch.check();
    } catch (error) {
      await this.#fleet.leave(live);
      throw error;
    }
    return this.#within(live, run, async (status) => {
      if (end) await this.#fleet.end(live, status);
      await this.#fleet.leave(live);
    });
  }

  /** A mission by its id, to look at it; undefined when there is none. */
  async get(id: string): Promise<Mission | undefined> {
    text("missionId", id);
    const live = await this.#fleet.load(id, {});
    await live?.handle.refresh();
    return live?.handle;
  }

  /** The latest missions first. */
  async list(options: { limit?: number; status?: MissionStatus } = {}): Promise<readonly MissionRow[]> {
    const { limit = 20, status } = readObject("list", options) as { limit?: number; status?: MissionStatus };
    if (!Number.isInteger(limit) || limit < 0) fail("list.limit", limit, "must be a whole number");
    oneOf("list.status", status, "running", "completed", "degraded", "paused", "killed", "failed");
    const rows: MissionRow[] = [];
    const seen = new Set<string>();
    for await (const id of this.#catalogue.ids()) {
      if (rows.length >= limit) break;
      if (seen.has(id)) continue;
      seen.add(id);
      const live = await this.#fleet.load(id, {});
      if (live === undefined) continue;
      await live.handle.refresh();
      const { state, readings } = live.life;
      if (status !== undefined && statusOf(state) !== status) continue;
      rows.push({
        id,
        name: state.terms.name,
        status: statusOf(state),
        parent: state.terms.parent ?? null,
        startedAt: new Date(state.terms.startedAt).toISOString(),
        budgetUsd: toUsd(state.budget),
        totalCostUsd: readings.spent,
        calls: readings.calls,
        interventions: state.interventions.length,
      });
    }
    return rows;
  }

  /** The whole record of a mission. */
  async stats(id: string): Promise<MissionStats> {
    const live = await this.#fleet.known(id, {});
    await live.journal.flush();
    await live.handle.refresh();
    return readStats(this.#extension, live.life);
  }

  /** Ends a mission for good: no call of it goes any more, in any process. Calls under way finish. */
  async kill(id: string, options: KillOptions): Promise<void> {
    const { by, reason } = readObject("kill", options);
    text("kill.by", by);
    text("kill.reason", reason);
    const { life, watch } = await this.#fleet.known(id, {});
    await life.refresh();
    await life.look();
    await watch.act("kill", { kind: "operator", reason, by });
  }

  /**
   * Adds to a mission's budget and lets a paused one go on where it stopped, from any process. The same `approvalId` counts once.
   * @throws ConfigError when the mission was killed, or beyond its `maxRaiseUsd`.
   */
  async raise(id: string, options: RaiseOptions): Promise<void> {
    const given = readRaise(options);
    const { life, watch } = await this.#fleet.known(id, {});
    await life.refresh();
    await life.look();
    await raise(life, watch, given);
  }

  async #start(given: MissionOptions): Promise<Live> {
    const options = readOptions(given);
    const { missionId: id = crypto.randomUUID(), name, slice: sliceOption, expectedCalls, labels = {} } = options;
    checkLabels(undefined, labels, id);
    const extension = this.#extension;
    // Before anything is set aside for it. Two that begin one id at once are told apart when it is written.
    if (options.missionId !== undefined && (await this.#fleet.load(id, options)) !== undefined)
      return this.#again(id, options);
    const parent = await this.#fleet.around();
    if (sliceOption !== undefined && parent === undefined)
      fail("slice", sliceOption, "needs a mission around it to be taken from");
    checkLabels(parent, labels, id);
    const past = expectedCalls === undefined ? await pastOf(extension, name) : undefined;
    const startedAt = extension.clock.now();
    const terms = termsOf(options, { startedAt, labels: { ...labels }, parent: parent?.life.id, past });
    const slice = terms.slice === undefined ? undefined : await this.#slice(id, parent!, terms.slice);
    const written = {
      [notes.terms]: JSON.stringify(terms),
      ...(slice === undefined ? {} : { [notes.slice]: JSON.stringify(slice) }),
    };
    const patch = { addLimit: terms.budget - terms.reserve, notes: written };
    // Listed before it is there: a process that dies in between leaves an entry that `list` passes over, not a hidden mission.
    await this.#catalogue.add(id, startedAt);
    const account = accountOf(extension, id);
    const asked = extension.ask("amend", (ledger) => ledger.amend(account, patch, "start"));
    const { applied, state } = await asked;
    if (!applied) {
      if (slice !== undefined) await extension.ask("release", (ledger) => ledger.release(slice));
      return this.#again(id, options);
    }
    const live = this.#fleet.own(this.#fleet.make(id, state, parent, !(asked instanceof Promise), options));
    const { budgetUsd } = options;
    extension.emit("mission-started", () => ({ missionId: id, name, budgetUsd, parent: parent?.life.id ?? null }));
    await this.#fleet.keep(live);
    return live;
  }

  /** An id that is known already. */
  async #again(id: string, options: MissionOptions): Promise<Live> {
    if (options.ifExists !== "attach")
      fail("missionId", id, 'is a mission already; take another id, or ifExists: "attach" to continue it');
    const live = this.#fleet.own(await this.#fleet.known(id, options));
    await this.#fleet.keep(live);
    await live.watch.check();
    return live;
  }

  async #slice(id: string, parent: Live, nano: number): Promise<Hold | undefined> {
    if (this.#extension.reservation === "off") return undefined;
    const answer = await reserveSlice(this.#extension, id, parent.life, nano);
    if (answer.kind === "held") return answer.hold;
    await parent.life.look();
    const rule = parent.rules.at(-1)!;
    const metadata = { ...parent.life.refused("block", `it has no room for a slice of $${toUsd(nano)}`) };
    throw rule.violation({ ruleName: rule.name, decision: { allow: false, action: "block", metadata } });
  }

  async #within<T>(
    live: Live,
    run: (mission: Mission) => T | PromiseLike<T>,
    end: (status: "completed" | "failed") => Promise<void>,
  ): Promise<Streamed<T>> {
    const { handle } = live;
    const within = <R>(step: () => R) => handle.within(step);
    let answer: T;
    try {
      answer = await within(() => run(handle));
    } catch (error) {
      await end("failed");
      throw error;
    }
    if (isAsyncIterable(answer)) {
      let ended: Promise<void> | undefined;
      const onEnd = (error?: unknown) => (ended ??= end(error === undefined ? "completed" : "failed"));
      return streamed(answer, within, onEnd) as Streamed<T>;
    }
    await end("completed");
    return answer as Streamed<T>;
  }
}

/** Throws for labels that a block of the mission cannot have, before anything is written. */
function checkLabels(parent: Live | undefined, labels: Labels, id: string): void {
  withAmbient({ labels: { ...parent?.handle.ambient.labels, ...labels, [MISSION_LABEL]: id } }, () => undefined);
}

function checkRun(run: unknown): void {
  if (typeof run !== "function") fail("run", run, "must be a function of the mission");
}
