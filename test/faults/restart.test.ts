import { KeyvLedger, type Hold } from "@driftlock/core";
import { ledgerSuite } from "@driftlock/core/testing";
import { Keyv } from "keyv";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DirectoryStore } from "./directory-store.js";
import { start } from "./processes.js";
import { temporaryDirectory } from "./temporary.js";

const root = temporaryDirectory();
let stores = 0;

ledgerSuite({
  name: "KeyvLedger over a directory",
  create: (clock) => new KeyvLedger(new Keyv({ store: new DirectoryStore(join(root, String(stores++))) }), { clock }),
  describe,
  it,
});

interface Report {
  readonly settled: number;
  readonly held: number;
  readonly open: Hold | null;
  readonly outcome: string | null;
}

/** Runs a shift to its end in a process of its own. */
async function shift(directory: string, open: Hold | null): Promise<Report> {
  const worker = start(new URL("./shift.ts", import.meta.url), directory, JSON.stringify(open));
  let said = "";
  worker.stdout!.on("data", (chunk: Buffer) => (said += chunk.toString()));
  expect(await new Promise((resolve) => worker.on("close", resolve))).toBe(0);
  return JSON.parse(said) as Report;
}

describe("state in a durable store", () => {
  it("survives a restart, and the next process closes the calls of the last", { timeout: 60_000 }, async () => {
    const directory = temporaryDirectory();
    const first = await shift(directory, null);
    expect(first).toMatchObject({ settled: 40, held: 100, outcome: null });
    const second = await shift(directory, first.open);
    expect(second).toMatchObject({ settled: 150, held: 100, outcome: "settled" });
    const third = await shift(directory, first.open);
    expect(third).toMatchObject({ settled: 190, held: 200, outcome: "duplicate" });
  });
});
