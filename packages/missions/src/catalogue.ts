import type { PolicyExtension } from "@driftlock/core";
import { listScope, usd } from "./accounts.js";

/** Missions on one page. A page is an account: its size bounds what a start has to write. */
const PAGE = 100;
const HEAD = "head";

/** The list of all missions of a ledger, newest last, in pages. */
export class Catalogue {
  readonly #extension: PolicyExtension;
  /** The last page, as far as this process knows: another may have begun the next. */
  #page: number | undefined;

  constructor(extension: PolicyExtension) {
    this.#extension = extension;
  }

  async add(id: string, startedAt: number): Promise<void> {
    this.#page ??= await this.#last();
    const key = `${new Date(startedAt).toISOString()} ${id}`;
    const { state } = await this.#amend(String(this.#page), { [key]: id });
    if (Object.keys(state.notes).length < PAGE) return;
    const next = String(this.#page + 1);
    await this.#amend(HEAD, { page: next }, `page ${next}`);
    this.#page = undefined;
  }

  /** The ids, latest first. */
  async *ids(): AsyncGenerator<string> {
    for (let page = await this.#last(); page >= 0; page--) {
      const { state } = await this.#amend(String(page), {});
      for (const key of Object.keys(state.notes).sort().reverse()) yield state.notes[key]!;
    }
  }

  async #last(): Promise<number> {
    const { state } = await this.#amend(HEAD, {});
    return Number(state.notes["page"] ?? 0);
  }

  async #amend(page: string, notes: Record<string, string>, onceId?: string) {
    const patch = Object.keys(notes).length === 0 ? {} : { notes };
    const { account } = this.#extension.meter(usd(listScope(page), Infinity));
    return this.#extension.ask("amend", (ledger) => ledger.amend(account, patch, onceId));
  }
}
