import type { ChildProcess } from "node:child_process";
import { start } from "../faults/processes.js";
import type { Scene } from "./scene.js";
import type { Commands } from "./worker.js";

type Input<Name extends keyof Commands> = Parameters<Commands[Name]>;
type Output<Name extends keyof Commands> = Awaited<ReturnType<Commands[Name]>>;

interface Answer {
  readonly seq: number;
  readonly output?: never;
  readonly error?: { readonly message: string };
}

/** A process of its own with a policy of its own. */
export class Worker implements AsyncDisposable {
  readonly #process: ChildProcess = start(new URL("./worker.ts", import.meta.url));
  readonly #ended: Promise<void>;
  readonly #waiting = new Map<number, { resolve: (output: never) => void; reject: (error: Error) => void }>();
  #asked = 0;

  constructor() {
    this.#process.on("message", ({ seq, output, error }: Answer) => {
      const waiting = this.#waiting.get(seq);
      this.#waiting.delete(seq);
      if (error === undefined) waiting?.resolve(output!);
      else waiting?.reject(Object.assign(new Error(error.message), error));
    });
    this.#ended = new Promise((resolve) => {
      this.#process.on("exit", (code, signal) => {
        for (const { reject } of this.#waiting.values()) reject(new Error(`the worker ended (${signal ?? code})`));
        this.#waiting.clear();
        resolve();
      });
    });
  }

  /** Has the worker do something and answer; its errors come back with their names and details. */
  ask<Name extends keyof Commands>(name: Name, ...[input]: Input<Name>): Promise<Output<Name>> {
    return new Promise((resolve, reject) => {
      const seq = ++this.#asked;
      this.#waiting.set(seq, { resolve, reject });
      this.#process.send({ seq, name, input }, (error) => error && reject(error));
    });
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

/** Several processes, all with the same policy. */
export class Crew implements AsyncDisposable {
  readonly workers: readonly Worker[];

  constructor(size: number) {
    this.workers = Array.from({ length: size }, () => new Worker());
  }

  /** Every process builds the scene anew. */
  async open(scene: Scene): Promise<void> {
    await this.all("open", scene);
  }

  all<Name extends keyof Commands>(name: Name, ...input: Input<Name>): Promise<Output<Name>[]> {
    return Promise.all(this.workers.map((worker) => worker.ask(name, ...input)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.kill()));
  }
}
