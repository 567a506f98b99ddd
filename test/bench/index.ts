/**
 * `pnpm bench [filter] [--quick]`: one line of JSON per benchmark. Medians of interleaved rounds; on a shared machine trust the
 * ratio to the lower bound more than the time. Runs what `pnpm build` made, as an application would: tsx names every closure it
 * compiles, which alone costs a call a quarter of its time.
 */
import { calls } from "./calls.js";
import { fetches } from "./fetch.js";
import { growth } from "./growth.js";
import { imports } from "./imports.js";
import { keyv } from "./keyv.js";
import { langchain } from "./langchain.js";
import { ledger } from "./ledger.js";
import { FULL, QUICK, type Effort, type Result } from "./measure.js";
import { memory } from "./memory.js";
import { missions } from "./missions.js";
import { projection } from "./projection.js";
import { prompt } from "./prompt.js";
import { redis } from "./redis.js";

const groups: Readonly<Record<string, (effort: Effort) => Promise<Result[]>>> = {
  ledger,
  keyv,
  calls,
  growth,
  memory,
  missions,
  projection,
  imports,
  prompt,
  fetch: fetches,
  langchain,
  redis,
};

const words = process.argv.slice(2);
const filter = words.find((word) => !word.startsWith("--")) ?? "";
const effort = words.includes("--quick") ? QUICK : FULL;
if (!import.meta.resolve("@driftlock/core").includes("/dist/")) {
  console.error(
    "Measures the sources as tsx compiles them, not what `pnpm build` makes: times are about a third too long.",
  );
}
for (const [name, run] of Object.entries(groups)) {
  if (!name.includes(filter)) continue;
  for (const result of await run(effort)) console.log(JSON.stringify(result));
}
