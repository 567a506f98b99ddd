import { writeSync } from "node:fs";
import { Keyv } from "keyv";
import { DirectoryStore } from "../faults/directory-store.js";
import { steps, world } from "./plan.js";

/** Plays the plan on a directory and says each step it has done, until its `lives`-th write to the store kills it. */
const [directory, lives] = process.argv.slice(2);

class MortalStore extends DirectoryStore {
  #writes = 0;

  override async set(key: string, value: string): Promise<boolean> {
    if (++this.#writes > Number(lives)) process.kill(process.pid, "SIGKILL");
    return super.set(key, value);
  }
}

const mortal = world(new Keyv({ store: new MortalStore(directory!) }));
for (const [i, step] of steps.entries()) {
  await step(mortal);
  writeSync(1, `${i}\n`);
}
await mortal.policy.close();
