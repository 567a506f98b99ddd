import { inspect, type InspectOptions } from "node:util";
import fc from "fast-check";

/** How to make a value. The value itself may throw at whoever looks at it, and fast-check looks at what it generates. */
export class Recipe<T = unknown> {
  constructor(readonly make: () => T) {}

  map<U>(change: (value: T) => U): Recipe<U> {
    return new Recipe(() => change(this.make()));
  }
  [inspect.custom](_depth: number, options: InspectOptions): string {
    return inspect(this.make(), options);
  }
}

export const always = <T>(value: T): Recipe<T> => new Recipe(() => value);

/** Throws whatever is done with it. */
function spiteful(): object {
  const trap = () => {
    throw new Error("a trap of a proxy");
  };
  const names = [
    "get",
    "set",
    "has",
    "ownKeys",
    "getPrototypeOf",
    "getOwnPropertyDescriptor",
    "defineProperty",
    "apply",
  ];
  return new Proxy(() => {}, Object.fromEntries(names.map((name) => [name, trap])));
}

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

function circular(): object {
  const own: Record<string, unknown> = { role: "user", type: "text" };
  own["content"] = [own];
  own["self"] = own;
  return own;
}

/** An object whose every listed field throws when it is read. */
export function throwing(...fields: readonly string[]): object {
  const own = {};
  for (const field of fields) {
    Object.defineProperty(own, field, {
      enumerable: true,
      get() {
        throw new RangeError(`a getter of ${field}`);
      },
    });
  }
  return own;
}

/** Answers something else each time it is asked. */
export function fickle(first: unknown, then: unknown): object {
  let asked = 0;
  return new Proxy(
    {},
    {
      get: () => (asked++ === 0 ? first : then),
      ownKeys: () => ["a"],
      getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
    },
  );
}

const badConversions = {
  toString() {
    throw new Error("toString");
  },
  valueOf: () => NaN,
  [Symbol.toPrimitive]() {
    throw new Error("toPrimitive");
  },
  toJSON() {
    throw new Error("toJSON");
  },
};

/** Numbers that are not amounts, limits, counts or times. */
export const oddNumbers = fc.oneof(
  fc.constantFrom(
    NaN,
    Infinity,
    -Infinity,
    -0,
    0,
    -1,
    0.5,
    -0.5,
    1e-300,
    1e300,
    1e15,
    2 ** 31,
    2 ** 53,
    -(2 ** 53),
    9_000_001,
    5e-324,
  ),
  fc.double(),
  fc.integer(),
);

export const oddStrings = fc.oneof(
  fc.constantFrom(
    "",
    " ",
    "0",
    "1",
    "NaN",
    "null",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "a".repeat(10_240),
    "\ud800",
    "\0",
    "user_id",
    "ﷺ",
    "💸",
  ),
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme", maxLength: 400 }),
);

const strange = fc.constantFrom<(() => unknown)[]>(
  () => undefined,
  () => null,
  () => true,
  () => false,
  () => 10n,
  () => Symbol("odd"),
  () => () => NaN,
  () => class {},
  () => [],
  () => ({}),
  () => [undefined],
  () => Object.create(null),
  () => new Date(NaN),
  () => new Date(8.64e15),
  () => new Map([["a", NaN]]),
  () => new Set([1]),
  () => new Error("a value"),
  () => Promise.resolve(NaN),
  () => ({ length: 2 ** 40 }),
  () => ({ then: 5 }),
  () => ({ label: "a", value: 5 }),
  () => JSON.parse('{"__proto__": {"polluted": true}, "constructor": 5}') as unknown,
  () => Object.freeze({ a: Object.freeze([1]) }),
  () => new Uint8Array(8),
  circular,
  spiteful,
  () => revoked({}),
  () => revoked([]),
  () => throwing("a", "b"),
  () => badConversions,
);

const anything = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withNullPrototype: true,
  withTypedArray: true,
  withSparseArray: true,
});

/** Anything a caller without types could hand over. */
export const nonsense: fc.Arbitrary<Recipe> = fc.oneof(
  { weight: 3, arbitrary: oddNumbers.map(always) },
  { weight: 3, arbitrary: oddStrings.map(always) },
  { weight: 4, arbitrary: strange.map((make) => new Recipe(make)) },
  { weight: 2, arbitrary: anything.map(always) },
);

/** A sound object with some of its fields, or of others, replaced by nonsense. */
export function spoiled(
  sound: Readonly<Record<string, unknown>>,
  ...more: readonly string[]
): fc.Arbitrary<Recipe<Record<string, unknown>>> {
  const fields = [...Object.keys(sound), ...more];
  const change = fc.tuple(fc.constantFrom(...fields), nonsense);
  const changes = fc.array(change, { minLength: 1, maxLength: 3 });
  return changes.map(
    (list) =>
      new Recipe(() => ({ ...sound, ...Object.fromEntries(list.map(([field, value]) => [field, value.make()])) })),
  );
}

/** The same, sometimes nonsense as a whole, sometimes with a field that throws. */
export function hostile(sound: Readonly<Record<string, unknown>>, ...more: readonly string[]): fc.Arbitrary<Recipe> {
  const fields = [...Object.keys(sound), ...more];
  const thrower = fc
    .constantFrom(...fields)
    .map(
      (field) =>
        new Recipe(() => Object.defineProperties({ ...sound }, Object.getOwnPropertyDescriptors(throwing(field)))),
    );
  return fc.oneof(
    { weight: 8, arbitrary: spoiled(sound, ...more) },
    { weight: 1, arbitrary: nonsense },
    { weight: 1, arbitrary: thrower },
  );
}

/** A list of what recipes make. */
export function listOf(items: fc.Arbitrary<Recipe>, maxLength: number): fc.Arbitrary<Recipe<unknown[]>> {
  return fc.array(items, { maxLength }).map((recipes) => new Recipe(() => recipes.map((recipe) => recipe.make())));
}

/** An object of what recipes make. */
export function recordOf(
  fields: Readonly<Record<string, fc.Arbitrary<Recipe>>>,
): fc.Arbitrary<Recipe<Record<string, unknown>>> {
  return fc
    .record(fields)
    .map(
      (recipes) =>
        new Recipe(() => Object.fromEntries(Object.entries(recipes).map(([field, recipe]) => [field, recipe.make()]))),
    );
}

/** The value as an answer: as it is, in a promise, thrown or rejected. */
export const answering: fc.Arbitrary<(value: Recipe) => () => unknown> = fc.constantFrom<
  ((value: Recipe) => () => unknown)[]
>(
  (value) => () => value.make(),
  (value) => async () => value.make(),
  (value) => () => {
    throw value.make();
  },
  (value) => () => Promise.reject(value.make() as Error),
);
