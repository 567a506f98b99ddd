export type Method = "get" | "getMany" | "set" | "setMany" | "delete" | "deleteMany";

/** One call on the adapter: `perform` does what was asked. */
export interface Call {
  readonly method: Method;
  readonly keys: readonly string[];
  readonly perform: () => unknown;
}

export interface TestAdapterOptions {
  /** Default: all. */
  readonly methods?: readonly Method[];
  /** What a good write answers. Default `true`. */
  readonly answer?: unknown;
  readonly namespace?: string;
}

type Keys = string | readonly string[] | readonly { key: string; value: unknown }[];

/** A storage adapter in memory whose every call can be made to go wrong. */
export class TestAdapter {
  readonly opts = {};
  namespace: string | undefined;
  /** What is stored, also seen by another adapter over the same Map. */
  readonly stored: Map<string, unknown>;
  readonly calls: Call[] = [];
  /** Runs in the place of every call. */
  intercept: (call: Call) => unknown = ({ perform }) => perform();
  readonly get = this.#method("get", (key: string) => this.stored.get(key));
  readonly getMany;
  readonly set = this.#method("set", (key: string, value: unknown) => (this.stored.set(key, value), this.#answer));
  readonly setMany;
  readonly delete = this.#method("delete", (key: string) => this.stored.delete(key));
  readonly deleteMany;
  readonly #answer: unknown;

  constructor(stored = new Map<string, unknown>(), { methods, answer = true, namespace }: TestAdapterOptions = {}) {
    this.stored = stored;
    this.#answer = answer;
    this.namespace = namespace;
    const has = (method: Method) => methods === undefined || methods.includes(method);
    if (has("getMany")) {
      this.getMany = this.#method("getMany", (keys: readonly string[]) => keys.map((key) => stored.get(key)));
    }
    if (has("setMany")) {
      this.setMany = this.#method("setMany", (entries: readonly { key: string; value: unknown }[]) => {
        for (const { key, value } of entries) stored.set(key, value);
        return answer === true ? entries.map(() => true) : answer;
      });
    }
    if (has("deleteMany")) {
      this.deleteMany = this.#method(
        "deleteMany",
        (keys: readonly string[]) => keys.map((key) => stored.delete(key)).filter(Boolean).length > 0,
      );
    }
  }

  async clear(): Promise<void> {
    this.stored.clear();
  }

  #method<T extends Keys, Rest extends unknown[]>(method: Method, perform: (first: T, ...rest: Rest) => unknown) {
    return async (first: T, ...rest: Rest): Promise<unknown> => {
      const named: readonly (string | { key: string })[] = typeof first === "string" ? [first] : first;
      const keys = named.map((each) => (typeof each === "string" ? each : each.key));
      const call = { method, keys, perform: () => perform(first, ...rest) };
      this.calls.push(call);
      return this.intercept(call);
    };
  }
}

/** A promise that never settles, and what settles it after all. */
export function hanging(): { readonly promise: Promise<unknown>; release: (value?: unknown) => void } {
  let release!: (value?: unknown) => void;
  const promise = new Promise<unknown>((resolve) => (release = resolve));
  return { promise, release };
}

/** Lets everything run that does not wait for time. */
export async function flush(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}
