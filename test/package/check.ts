/**
 * Checks what would be published, not what lies in the repository: packs every public package, lints the tarballs, and
 * installs them into an empty project that imports and requires every entry point. Needs no network.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface Manifest {
  readonly name: string;
  readonly private?: boolean;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

const packagesFolder = fileURLToPath(new URL("../../packages", import.meta.url));
const consumer = mkdtempSync(join(tmpdir(), "driftlock-consumer-"));
process.on("exit", () => rmSync(consumer, { recursive: true, force: true }));

const packages = readdirSync(packagesFolder)
  .map((name) => join(packagesFolder, name))
  .map((folder) => ({ folder, manifest: JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest }))
  .filter(({ manifest }) => !manifest.private);

// Every dependency comes from the workspace as a link: what is tested is our tarball, and the registry is never asked.
const dependencies: Record<string, string> = {};
for (const { folder, manifest } of packages) {
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })) {
    dependencies[name] ??= `link:${join(folder, "node_modules", name)}`;
  }
}

for (const { folder, manifest } of packages) {
  const tarball = join(consumer, `${manifest.name.replace(/^@|\//g, "-").slice(1)}.tgz`);
  run("pnpm", ["pack", "--out", tarball], folder);
  run("publint", ["run", tarball, "--strict"]);
  run("attw", [tarball, "--profile", "esm-only"]);

  const files = run("tar", ["-tf", tarball]).trim().split("\n");
  const strays = files.filter(
    (file) => !/^package\/(dist\/.+\.(js|d\.ts)(\.map)?|src\/.+\.ts|[^/.]+(\.md|\.json)?)$/.test(file),
  );
  if (strays.length > 0) throw new Error(`${manifest.name} would publish ${strays.join(", ")}`);
  dependencies[manifest.name] = `file:${tarball}`;
  console.log(`${manifest.name}: publint, attw and ${files.length} files are as they should be`);
}

writeFileSync(join(consumer, "package.json"), JSON.stringify({ private: true, dependencies }));
writeFileSync(join(consumer, "pnpm-workspace.yaml"), JSON.stringify({ overrides: dependencies }));
run("pnpm", ["install", "--offline", "--no-frozen-lockfile"], consumer);

const entries = packages.flatMap(({ manifest }) =>
  Object.keys(manifest.exports)
    .filter((path) => !path.endsWith(".json"))
    .map((path) => manifest.name + path.slice(1)),
);
const script = `
  const assert = require("node:assert/strict");
  (async () => {
    for (const entry of ${JSON.stringify(entries)}) {
      const names = Object.keys(await import(entry));
      assert.notEqual(names.length, 0, entry + " exports nothing");
      assert.deepEqual(Object.keys(require(entry)), names);
      console.log(entry, "exports", names.length, "names to import and to require");
    }
  })();`;
console.log(run(process.execPath, ["--eval", script], consumer).trim());

/** Quiet when all is well. */
function run(command: string, args: readonly string[], cwd?: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed\n${stdout}${stderr}`);
  return stdout;
}
