/**
 * `tsx test/package/peers.ts oldest|newest [vitest filter…]`: runs packages/langchain's own tests against other versions of its
 * peers than the lockfile's, in a folder of its own. Asks the registry for them, so it is not part of every run.
 * With another Node: `npx -y -p node@24 node --import tsx test/package/peers.ts newest`.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface PeerSet {
  /** Together, as their own peer ranges allow. */
  readonly dependencies: Readonly<Record<string, string>>;
  /** Tests of what these versions do not have. */
  readonly exclude: readonly string[];
}

const sets: Readonly<Record<string, PeerSet>> = {
  oldest: {
    dependencies: {
      "@langchain/core": "1.1.0",
      "@langchain/openai": "1.2.0",
      "@langchain/anthropic": "1.1.0",
      "@langchain/langgraph": "1.1.0",
      // Langgraph's own range would bring one that needs a newer core.
      "@langchain/langgraph-checkpoint": "1.0.0",
      langchain: "1.1.0",
      zod: "4.6.7",
    },
    // The middleware's optional peer, `langchain`, has a range of its own.
    exclude: ["**/middleware/**", "**/matrix/**", "**/fake-model.test.ts"],
  },
  newest: {
    // Some of them need Node 22.
    dependencies: {
      "@langchain/core": "^1",
      "@langchain/openai": "^1",
      "@langchain/anthropic": "^1",
      "@langchain/langgraph": "^1",
      langchain: "^1",
      zod: "^4",
    },
    exclude: [],
  },
};

const [name = "", ...filters] = process.argv.slice(2);
const set = sets[name];
if (set === undefined) throw new Error(`Say which: ${Object.keys(sets).join(" or ")}`);

const root = fileURLToPath(new URL("../../", import.meta.url));
const own = join(root, "packages/langchain");
const folder = realpathSync(mkdtempSync(join(tmpdir(), "driftlock-peers-")));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

writeFileSync(
  join(folder, "package.json"),
  JSON.stringify({ private: true, type: "module", dependencies: set.dependencies }),
);
run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], folder);
const versions = JSON.parse(run("npm", ["ls", "--json", "--depth=0"], folder)) as {
  dependencies: Record<string, { version: string }>;
};
for (const [peer, { version }] of Object.entries(versions.dependencies)) console.log(`${peer} ${version}`);

// A copy, because a link would find the workspace's peers beside its real path.
for (const part of ["src", "test", "package.json", "README.md"])
  cpSync(join(own, part), join(folder, "packages/langchain", part), { recursive: true });
mkdirSync(join(folder, "node_modules/@driftlock"), { recursive: true });
symlinkSync(join(folder, "packages/langchain"), join(folder, "node_modules/@driftlock/langchain"));
for (const other of ["@driftlock/core", "@driftlock/missions", "@driftlock/openai-server", "keyv", "vitest"])
  symlinkSync(realpathSync(join(own, "node_modules", other)), join(folder, "node_modules", other));
const conditions = ["@driftlock/source", "module", "node", "development|production"];
const config = {
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: { include: ["packages/*/test/**/*.test.ts"], exclude: ["**/node_modules/**", ...set.exclude] },
};
writeFileSync(join(folder, "vitest.config.mjs"), `export default ${JSON.stringify(config)};`);

const vitest = [join(root, "node_modules/vitest/vitest.mjs"), "run", "--root", folder];
const { status } = spawnSync(process.execPath, [...vitest, ...filters], { stdio: "inherit", cwd: folder });
process.exitCode = status ?? 1;

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed\n${stdout}${stderr}`);
  return stdout;
}
