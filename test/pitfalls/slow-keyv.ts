import { Keyv } from "keyv";

/** A Keyv whose store answers after a turn of the event loop, as a store at the other end of a wire does. */
export function slowKeyv(): Keyv {
  const data = new Map<string, unknown>();
  const later = async <T>(act: () => T): Promise<T> => {
    await new Promise((resolve) => setImmediate(resolve));
    return act();
  };
  const store = {
    opts: {},
    namespace: undefined,
    on: () => store,
    get: (key: string) => later(() => data.get(key)),
    getMany: (keys: string[]) => later(() => keys.map((key) => data.get(key))),
    set: (key: string, value: unknown) => later(() => (data.set(key, value), true)),
    setMany: (entries: { key: string; value: unknown }[]) =>
      later(() => entries.map(({ key, value }) => (data.set(key, value), true))),
    delete: (key: string) => later(() => data.delete(key)),
    deleteMany: (keys: string[]) => later(() => keys.every((key) => data.delete(key))),
    clear: () => later(() => data.clear()),
    has: (key: string) => later(() => data.has(key)),
  };
  return new Keyv({ store: store as never });
}
