import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { median, round, type Effort, type Result } from "./measure.js";

/** What a process pays for `import "@driftlock/core"`, as built; against importing the store it is made for, and nothing. */
export function imports({ processes }: Effort): Promise<Result[]> {
  const names = ["@driftlock/core", "keyv", "data:text/javascript,"];
  const times = names.map((): number[] => []);
  for (let i = 0; i < processes; i++) names.forEach((name, side) => times[side]!.push(importMs(name)));
  const [core, keyv, nothing] = times.map(median) as [number, number, number];
  return Promise.resolve([
    {
      bench: "import of @driftlock/core in a new process",
      median: round(core),
      unit: "ms",
      lowerBound: round(keyv),
      ratio: round(core / keyv),
      target: "≤ 60 ms",
      met: core <= 60,
      runs: processes,
      note: `the lower bound is keyv alone; an empty module takes ${round(nothing)} ms`,
    },
  ]);
}

const here = fileURLToPath(new URL(".", import.meta.url));

/** ms of the import itself, in a process of its own, without tsx and its conditions. */
function importMs(name: string): number {
  const script = `const start = performance.now(); await import(${JSON.stringify(name)}); console.log(performance.now() - start);`;
  const env = { ...process.env, NODE_OPTIONS: "" };
  return Number(
    execFileSync(process.execPath, ["--input-type=module", "--eval", script], { cwd: here, env, encoding: "utf8" }),
  );
}
