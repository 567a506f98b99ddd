import type { AccountState, Ledger, PolicyExtension } from "@driftlock/core";
import { journalScope, usd } from "./accounts.js";
import { Tally } from "./tally.js";

/** One closed call. Money in nano-USD. */
export interface CallEntry {
  readonly id: string;
  /** ms since the epoch. */
  readonly at: number;
  readonly model: string;
  readonly endpoint: string | undefined;
  readonly agent: string | undefined;
  /** The innermost mission of the call. */
  readonly missionId: string;
  /** By which way the call reached this mission: its own calls by their agent, a nested mission's by its name. */
  readonly from: string;
  readonly tokens: number;
  readonly nano: number;
  readonly estimated: boolean;
  readonly released: boolean;
}

const MAX_RECENT = 50;
const FLUSH_MS = 500;
const SEGMENT = "part ";
/** Between the two ends of an edge: no name holds one. */
export const SEPARATOR = "\n";
/** Where a call says no endpoint or agent. */
export const NONE = "(none)";

/** What calls cost, by what they were: sums and the last calls, never a list of all. */
export class Sums {
  readonly models = new Tally();
  readonly endpoints = new Tally();
  readonly agents = new Tally();
  readonly edges = new Tally();
  recent: CallEntry[] = [];
  /** The last edge, joined. */
  #from = "";
  #to = "";
  #edge = "";

  /** @param mayBeKnown The bill may belong to a call that was counted before: one that came after the call was given up. */
  add(entry: CallEntry, mayBeKnown: boolean): void {
    const { model, endpoint = NONE, agent = NONE, from, tokens, nano, released } = entry;
    const calls = mayBeKnown && this.recent.some(({ id }) => id === entry.id) ? 0 : 1;
    const estimated = entry.estimated && !released ? calls : 0;
    this.models.add(model, calls, nano, tokens, estimated);
    this.endpoints.add(endpoint, calls, nano, tokens, estimated);
    this.agents.add(agent, calls, nano, tokens, estimated);
    if (from !== this.#from || model !== this.#to) {
      this.#from = from;
      this.#to = model;
      this.#edge = from + SEPARATOR + model;
    }
    this.edges.add(this.#edge, calls, nano, tokens, estimated);
    this.recent.push(entry);
    if (this.recent.length >= 2 * MAX_RECENT) this.recent = this.recent.slice(-MAX_RECENT);
  }

  toJSON(): unknown {
    const { models, endpoints, agents, edges, recent } = this;
    return { models, endpoints, agents, edges, recent: recent.slice(-MAX_RECENT) };
  }

  merge(written: unknown): void {
    const { models, endpoints, agents, edges, recent } = written as Record<string, unknown>;
    this.models.merge(models);
    this.endpoints.merge(endpoints);
    this.agents.merge(agents);
    this.edges.merge(edges);
    this.recent = [...this.recent, ...(recent as CallEntry[])].sort((a, b) => a.at - b.at).slice(-MAX_RECENT);
  }
}

/**
 * What this process knows of a mission's calls. It is written beside the calls, in the background: what a crash keeps from being
 * written is missing from the rows, never from the totals, which are the ledger's.
 */
export class Journal {
  readonly #extension: PolicyExtension;
  readonly #account: string;
  readonly #missionId: string;
  /** A part of its own in the store: processes never write the same one. */
  readonly #part = `${SEGMENT}${crypto.randomUUID()}`;
  readonly #sums = new Sums();
  #isDirty = false;
  #isStopped = false;
  #cancel: (() => void) | undefined;

  constructor(extension: PolicyExtension, missionId: string) {
    this.#extension = extension;
    this.#missionId = missionId;
    this.#account = journalAccount(extension, missionId);
  }

  add(entry: CallEntry, mayBeKnown: boolean): void {
    this.#sums.add(entry, mayBeKnown);
    this.#isDirty = true;
    // Calls after the end are few, and nobody else hands them on.
    if (this.#isStopped) void this.flush();
    else
      this.#cancel ??= this.#extension.clock.after(FLUSH_MS, () => {
        this.#cancel = undefined;
        void this.flush();
      });
  }

  /** Hands what is new to the store. What does not get there is tried again in the background. */
  async flush(): Promise<void> {
    if (!this.#isDirty) return;
    this.#isDirty = false;
    const write = (ledger: Ledger) => ledger.amend(this.#account, { notes: this.#notes() });
    try {
      await this.#extension.ask("amend", write);
    } catch {
      this.#extension.insist("amend", this.#missionId, write);
    }
  }

  /** The process works with the mission again: its part goes on, so that a mission has no more parts than processes. */
  resume(): void {
    this.#isStopped = false;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel?.();
    this.#cancel = undefined;
    await this.flush();
  }

  #notes(): Record<string, string> {
    return { [this.#part]: JSON.stringify(this.#sums) };
  }
}

export function journalAccount(extension: PolicyExtension, missionId: string): string {
  return extension.meter(usd(journalScope(missionId), Infinity)).account;
}

/** What all processes together have written of a mission. */
export function sumsOf({ notes }: AccountState): Sums {
  const sums = new Sums();
  for (const [key, note] of Object.entries(notes)) if (key.startsWith(SEGMENT)) sums.merge(JSON.parse(note));
  return sums;
}
