/**
 * Runs every example offline and compares what it prints with `expected/<name>.txt`.
 * `pnpm examples --update` writes the expectations instead.
 */
import { provideRedis } from "@driftlock/redis-server";
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const update = process.argv.includes("--update");
const folder = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const names = async (path: string, extension: string) =>
  (await readdir(folder(path)))
    .filter((file) => file.endsWith(extension))
    .map((file) => file.slice(0, -extension.length));

const redis = await provideRedis();
/** A key or an address in the environment must not turn an offline example into a paid one. */
const env = {
  ...Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^(OPENAI|LANGCHAIN|LANGSMITH)_/.test(key))),
  REDIS_URL: redis.url,
};

/** What an example prints. */
async function run(name: string): Promise<string> {
  const node = [...process.execArgv, folder(`src/${name}.ts`)];
  const { stdout } = await promisify(execFile)(process.execPath, node, { env, timeout: 60_000 });
  return stdout;
}

const problems: string[] = [];
await mkdir(folder("expected"), { recursive: true });
const examples = await names("src", ".ts");

for (const name of examples) {
  const file = folder(`expected/${name}.txt`);
  const before = problems.length;
  try {
    const received = await run(name);
    if (update) await writeFile(file, received);
    const expected = await readFile(file, "utf8");
    if (received !== expected) problems.push(`${name} printed\n${received}\ninstead of\n${expected}`);
  } catch (error) {
    problems.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  console.log(problems.length === before ? "ok    " : "FAILED", name);
}
for (const name of await names("expected", ".txt")) {
  if (!examples.includes(name)) problems.push(`expected/${name}.txt has no example`);
}

await redis.stop();
for (const problem of problems) console.error(`\n${problem}`);
if (problems.length > 0) process.exitCode = 1;
