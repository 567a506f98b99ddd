/**
 * How an error of ours crosses a host that knows only HTTP: a refusal is a `Response`, and the client makes an error of its own
 * from it. The response's headers carry the error itself; its body carries a record of it for copies and other processes.
 */

/** Shared by every copy of the package in a process. */
const carried = Symbol.for("driftlock.carried");

/** Everything of an error that JSON can carry; `kinds` are the names of its classes, its own first. */
export interface ErrorRecord {
  readonly kinds: readonly string[];
  readonly [field: string]: unknown;
}

/** Values that may be a caller's own: an error message shows them shortened, a body does not show them. */
const PRIVATE = new Set(["value"]);
/** What a record must not set on the error made from it. */
const RESERVED = new Set(["kinds", "name", "stack", "httpStatus", ...Object.getOwnPropertyNames(Object.prototype)]);

/**
 * What the fields that programs go by must look like. A body is whatever the other side wrote: one that is no error of ours must
 * not come back as one that breaks whoever reads it.
 */
const SHAPES: Readonly<Record<string, ((value: unknown) => boolean) | undefined>> = {
  message: isText,
  code: isText,
  ruleName: isText,
  status: (value) => Number.isInteger(value) && (value as number) >= 400 && (value as number) < 600,
  retryAfterMs: (value) => typeof value === "number" && value >= 0,
  decision: (value) => isFields(value) && value["allow"] === false && isFields(value["metadata"]),
};
/** The decision of a violation whose own cannot be carried: whoever looks into it finds nothing, not `undefined`. */
const UNTOLD = { allow: false, action: "block", metadata: {} };

/** Lets `host` carry `error`. */
export function carry(host: object, error: Error): void {
  Object.defineProperty(host, carried, { value: error });
}

/** The error that something carries, if any. */
export function carriedBy(host: unknown): unknown {
  try {
    return typeof host === "object" && host !== null ? (host as { [carried]?: unknown })[carried] : undefined;
  } catch {
    // A proxy that throws carries nothing.
    return undefined;
  }
}

/** A record of an error. Fields that JSON cannot carry (a custom rule's metadata) are left out. */
export function recordOf(error: Error, kinds: readonly string[]): ErrorRecord {
  const record: Record<string, unknown> = { kinds, message: error.message };
  for (const [name, value] of Object.entries(error)) {
    if (PRIVATE.has(name) || RESERVED.has(name)) continue;
    try {
      if (JSON.stringify(value) !== undefined) record[name] = value;
    } catch {
      // A circle, a BigInt, a getter that throws: the refusal stands without it.
    }
  }
  return record as ErrorRecord;
}

/** The fields of a record as properties of an error to be, and its kinds; `undefined` for anything else. */
export function readRecord(
  record: unknown,
): { kinds: readonly string[]; properties: PropertyDescriptorMap } | undefined {
  if (typeof record !== "object" || record === null) return undefined;
  const { kinds } = record as Partial<ErrorRecord>;
  if (!Array.isArray(kinds) || !kinds.every((kind) => typeof kind === "string")) return undefined;
  const fields = Object.entries(record).filter(([name]) => !RESERVED.has(name));
  if (fields.some(([name, value]) => SHAPES[name]?.(value) === false)) return undefined;
  if (kinds.includes("PolicyViolationError") && !Object.hasOwn(record, "decision")) fields.push(["decision", UNTOLD]);
  const property = (value: unknown) => ({ value, enumerable: true, configurable: true, writable: true });
  return { kinds, properties: Object.fromEntries(fields.map(([name, value]) => [name, property(value)])) };
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
