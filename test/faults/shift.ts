import { KeyvLedger, type Hold } from "@driftlock/core";
import { requestOf } from "@driftlock/core/testing";
import { Keyv } from "keyv";
import { agreed, claims, lease } from "./calls.js";
import { DirectoryStore } from "./directory-store.js";

/** One process's day: closes the call it was handed, makes one and settles it, leaves another open, and says what stands. */
const [directory, handed] = process.argv.slice(2);
const ledger = new KeyvLedger(new Keyv({ store: new DirectoryStore(directory!) }), { timeoutMs: 10_000 });
const bill = (usd: number) => ({ usd, tokens: 0, known: true });

async function hold(): Promise<Hold> {
  const answer = await ledger.reserve(requestOf(claims, { lease }));
  if (answer.kind !== "held") throw new Error(answer.kind);
  return answer.hold;
}

const inherited = JSON.parse(handed!) as Hold | null;
const closed = inherited && (await ledger.settle(inherited, bill(70)));
await ledger.settle(await hold(), bill(40));
const open = await hold();
console.log(JSON.stringify({ ...(await agreed(ledger)), open, outcome: closed?.outcome ?? null }));
await ledger.close();
