import type { Line } from "./soak-worker.js";

/** What a user may have been charged, in cents: a range where a worker died in the midst of a call. */
export interface Range {
  least: number;
  most: number;
}

interface Entry {
  readonly user: number;
  readonly bound: number;
  /** What was told last, and the bill that was asked for. */
  said: "ask" | "held" | "back" | "bill" | "owed" | "done" | "refused" | "failed";
  bill: number;
}

/** All workers' logs, added up. */
export class SoakBook {
  readonly users: Range[];
  /** Reserves and closes that were asked for. */
  operations = 0;
  /** Closed, refused and broken off calls. */
  readonly counts = { closed: 0, refused: 0, failed: 0, brokenOff: 0 };

  constructor(users: number) {
    this.users = Array.from({ length: users }, () => ({ least: 0, most: 0 }));
  }

  /** Adds the log of one worker, whose last line may be torn; answers how many operations that were. */
  add(text: string): number {
    const calls = new Map<number, Entry>();
    let isWhole = false;
    for (const json of text.split("\n").slice(0, -1)) {
      const line = JSON.parse(json) as Line;
      if (line[0] === "end") isWhole = true;
      else if (line[0] === "ask") calls.set(line[1], { user: line[2], bound: line[3], said: "ask", bill: 0 });
      else {
        const entry = calls.get(line[1])!;
        [entry.said] = line;
        if (line[0] === "bill") entry.bill = line[2];
      }
    }
    const before = this.operations;
    for (const entry of calls.values()) this.#add(entry, isWhole);
    return this.operations - before;
  }

  #add(entry: Entry, isWhole: boolean): void {
    const { user, said } = entry;
    const [least, most] = chargeOf(entry, isWhole);
    this.users[user]!.least += least;
    this.users[user]!.most += most;
    this.operations += said === "ask" || said === "held" || said === "refused" || said === "failed" ? 1 : 2;
    if (said === "refused" || said === "failed") this.counts[said]++;
    else if (said === "done" || isWhole) this.counts.closed++;
    else this.counts.brokenOff++;
  }
}

/** The least and the most a call can have been charged, in cents. */
function chargeOf({ said, bill, bound }: Entry, isWhole: boolean): readonly [number, number] {
  switch (said) {
    case "done":
      return [bill, bill];
    case "refused":
      return [0, 0];
    case "owed":
    case "failed":
      // Retried until acknowledged; when its process died before, the lease may have ended it at its bound.
      return isWhole ? [bill, bill] : [bill, bound];
    case "held":
      return [bound, bound];
    case "ask":
      return [0, bound];
    case "bill":
      return [bill, bound];
    case "back":
      return [0, bound];
  }
}
