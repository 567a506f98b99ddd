import { spawnSync } from "node:child_process";

const INSTALL = "apt-get update && apt-get install -y redis-server";

/** Makes sure that `redis-server` can be run: it is on the PATH, or is installed (Debian, as root), or this throws. */
export function ensureRedis(): void {
  if (isInstalled()) return;
  const problem = install();
  if (isInstalled()) return;
  throw new Error(
    `The tests need a real Redis, and redis-server is not on the PATH (${problem}).\n` +
      `Install it, for example with\n\n  sudo sh -c "${INSTALL}"\n`,
  );
}

function isInstalled(): boolean {
  return spawnSync("redis-server", ["--version"]).status === 0;
}

/** Tries to install it, and answers what stood in the way. */
function install(): string {
  if (process.platform !== "linux" || spawnSync("apt-get", ["--version"]).status !== 0) return "there is no apt-get";
  if (process.getuid?.() !== 0) return "only root may install it";
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  // Several test processes may find it missing at once.
  const apt = (...args: string[]) => spawnSync("apt-get", ["-o", "DPkg::Lock::Timeout=180", ...args], { env });
  const packages = ["install", "-y", "--no-install-recommends", "redis-server"];
  if (apt(...packages).status === 0) return "apt-get installed it, but it does not run";
  apt("update");
  const { status, stderr } = apt(...packages);
  return status === 0 ? "apt-get installed it, but it does not run" : `apt-get says: ${String(stderr).trim()}`;
}
