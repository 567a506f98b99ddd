import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Starts a script in a process of its own, on the sources, with an IPC channel. */
export function start(script: URL, ...args: readonly string[]): ChildProcess {
  const node = ["--conditions", "@driftlock/source", "--import", "tsx"];
  return spawn(process.execPath, [...node, fileURLToPath(script), ...args], {
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
}
