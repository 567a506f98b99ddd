import { appendFileSync } from "node:fs";
import { PolicyViolationError, StoreError } from "@driftlock/core";
import { costing } from "../pitfalls/kit.js";
import { sleep, stage, type Scene } from "./scene.js";

/** What a worker of the soak has to do. */
export interface SoakOrder {
  readonly scene: Scene;
  /** Where it writes its {@link Line}s, each before it goes on. */
  readonly log: string;
  /** Reserves and closes to ask for. */
  readonly operations: number;
  readonly atOnce: number;
  readonly users: number;
}

/**
 * One line of the log: what it is about to ask, and what it was told. `ask` a reserve of at most `cents`; `held`; `bill` a settle
 * of `cents` is asked, `back` a release; `done` either is acknowledged, `owed` it is retried; `refused`; `failed` by the store;
 * `end`: everything owed was acknowledged.
 */
export type Line =
  | readonly ["ask", call: number, user: number, cents: number]
  | readonly ["bill", call: number, cents: number]
  | readonly ["held" | "back" | "done" | "owed" | "refused" | "failed", call: number]
  | readonly ["end"];

const { scene, log, operations, atOnce, users } = JSON.parse(process.argv[2]!) as SoakOrder;
const { policy, store } = stage(scene);
const random = (most: number) => Math.floor(Math.random() * most);
const say = (line: Line) => appendFileSync(log, `${JSON.stringify(line)}\n`);
let calls = 0;
let asked = 0;
/** Calls whose close the store did not acknowledge at once. */
const owed = new Set<string>();
policy.on("store-failed", ({ id }) => id !== undefined && owed.add(id));

async function call(id: number): Promise<void> {
  const user = random(users);
  const cents = 1 + random(10);
  asked++;
  say(["ask", id, user, cents]);
  const auth = await policy.authorize({ ...costing(cents / 100), labels: { user_id: `user-${user}` } });
  asked++;
  say(["held", id]);
  if (random(4) === 0) await sleep(random(4));
  if (random(5) === 0) {
    say(["back", id]);
    await auth.release();
  } else {
    const bill = 1 + random(cents);
    say(["bill", id, bill]);
    await auth.settle({ costUsd: bill / 100 });
  }
  say([owed.has(auth.id) ? "owed" : "done", id]);
}

async function loop(): Promise<void> {
  while (asked < operations) {
    const id = calls++;
    try {
      await call(id);
    } catch (error) {
      if (PolicyViolationError.isInstance(error)) say(["refused", id]);
      else if (StoreError.isInstance(error)) say(["failed", id]);
      else throw error;
    }
  }
}

process.on("warning", ({ message }) => {
  if (message.includes("never reached the store")) throw new Error(message);
});
await Promise.all(Array.from({ length: atOnce }, loop));
await policy.close();
say(["end"]);
await store.disconnect();
