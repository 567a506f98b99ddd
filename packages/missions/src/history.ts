import type { PolicyExtension } from "@driftlock/core";
import { nameScope, usd } from "./accounts.js";
import { proceed } from "./maybe.js";
import type { Past } from "./projection.js";

/** Ended missions of a name whose length counts. */
const RUNS = 10;
const RUN = "run ";

/** How long the last missions of a name were. */
export async function pastOf(extension: PolicyExtension, name: string): Promise<Past | undefined> {
  const { state } = await extension.ask("read", (ledger) => ledger.amend(account(extension, name), {}));
  const lengths = keysOf(state.notes).map((key) => Number(state.notes[key]));
  if (lengths.length === 0) return undefined;
  const calls = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  return { runs: lengths.length, calls, least: Math.min(...lengths), most: Math.max(...lengths) };
}

/** Notes the length of a mission that ended, once, and forgets the oldest. Tried until the store has it. */
export function rememberRun(extension: PolicyExtension, name: string, id: string, calls: number): void {
  const key = `${RUN}${new Date(extension.clock.now()).toISOString()} ${id}`;
  const of = account(extension, name);
  const write = () =>
    extension.ask("amend", (ledger) =>
      proceed(ledger.amend(of, { notes: { [key]: String(calls) } }, id), ({ state }) => {
        const old = keysOf(state.notes).slice(0, -RUNS);
        if (old.length === 0) return undefined;
        return proceed(
          ledger.amend(of, { notes: Object.fromEntries(old.map((name) => [name, null])) }),
          () => undefined,
        );
      }),
    );
  try {
    const written = write();
    if (written instanceof Promise) written.catch(() => extension.insist("amend", id, () => write()));
  } catch {
    extension.insist("amend", id, () => write());
  }
}

function account(extension: PolicyExtension, name: string): string {
  return extension.meter(usd(nameScope(name), Infinity)).account;
}

function keysOf(notes: Readonly<Record<string, string>>): string[] {
  return Object.keys(notes)
    .filter((key) => key.startsWith(RUN))
    .sort();
}
