import { mkdirSync } from "node:fs";
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A Keyv adapter that keeps one file for each key, replaced as a whole: what is written survives the process. */
export class DirectoryStore {
  readonly opts = {};
  readonly #directory: string;
  #writes = 0;

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true });
  }

  async get(key: string): Promise<string | undefined> {
    try {
      return await readFile(this.#file(key), "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  async set(key: string, value: string): Promise<boolean> {
    const draft = `${this.#file(key)}.${process.pid}-${this.#writes++}`;
    await writeFile(draft, value);
    await rename(draft, this.#file(key));
    return true;
  }

  async delete(key: string): Promise<boolean> {
    try {
      await rm(this.#file(key));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw error;
    }
  }

  async clear(): Promise<void> {
    for (const name of await readdir(this.#directory)) await rm(join(this.#directory, name));
  }

  #file(key: string): string {
    return join(this.#directory, encodeURIComponent(key));
  }
}
