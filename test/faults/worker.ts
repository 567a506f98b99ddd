import { writeSync } from "node:fs";
import { KeyvLedger } from "@driftlock/core";
import { requestOf } from "@driftlock/core/testing";
import { Keyv } from "keyv";
import { BOUND, claims, lease } from "./calls.js";
import { DirectoryStore } from "./directory-store.js";

/** What a worker says, a line each, before it goes on. `ask…` before an operation, the other when it is acknowledged. */
export type Line =
  | { readonly say: "asking-reserve"; readonly id: string }
  | { readonly say: "reserved"; readonly id: string }
  | { readonly say: "asking-settle"; readonly id: string; readonly usd: number }
  | { readonly say: "settled"; readonly id: string; readonly usd: number };

function say(line: Line): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

/** Makes calls, several at a time, until it is killed. */
async function work(directory: string): Promise<never> {
  const ledger = new KeyvLedger(new Keyv({ store: new DirectoryStore(directory) }), { timeoutMs: 10_000 });
  const loop = async (): Promise<never> => {
    for (;;) {
      const request = requestOf(claims, { lease });
      say({ say: "asking-reserve", id: request.id });
      const answer = await ledger.reserve(request);
      if (answer.kind !== "held") throw new Error(answer.kind);
      say({ say: "reserved", id: request.id });
      const usd = 1 + Math.floor(Math.random() * BOUND);
      say({ say: "asking-settle", id: request.id, usd });
      await ledger.settle(answer.hold, { usd, tokens: 0, known: true });
      say({ say: "settled", id: request.id, usd });
    }
  };
  return Promise.race(Array.from({ length: 8 }, loop));
}

await work(process.argv[2]!);
