import { carriedBy, readRecord } from "./carried.js";

/** Shared by every copy of the package in a process, so that a brand set by one is read by all. */
const brand = Symbol.for("driftlock.error");

interface ErrorClass<T> {
  readonly prototype: T;
  readonly kind: string;
}

/** The base of every error of Driftlock. Recognise errors with `isInstance` or `find`, never with `instanceof`. */
export abstract class DriftlockError extends Error {
  /** The class's name as a literal: minifiers rename classes. */
  static readonly kind: string = "DriftlockError";
  /** A stable code for programs. */
  abstract readonly code: string;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options?.cause === undefined ? undefined : options);
    const kind = (new.target as unknown as ErrorClass<unknown>).kind;
    Object.defineProperty(this, "name", { value: kind, configurable: true });
    Object.defineProperty(this, brand, { value: kindsOf(new.target) });
  }

  /** Whether `error` itself is of this class, also when another copy of the package made it. */
  static isInstance<T>(this: ErrorClass<T>, error: unknown): error is T {
    return kinds(error)?.includes(this.kind) ?? false;
  }

  /**
   * The first error of this class in `error` or in what it wraps (`cause`, `errors`, `toolError`, `error`): hosts wrap. In an
   * SDK's error it is found too, when the refusal came as a response of `governFetch`.
   */
  static find<T>(this: ErrorClass<T>, error: unknown): T | undefined {
    const seen = new Set<unknown>();
    const open: unknown[] = [error];
    // A body that a stranger wrote may be large: who wraps us does it in a handful of steps.
    for (let at = 0; at < open.length && at < MAX_LOOKS; at++) {
      const current = open[at];
      if (typeof current !== "object" || current === null || seen.has(current)) continue;
      seen.add(current);
      if (kinds(current)?.includes(this.kind)) return current as T;
      const { cause, errors, toolError, error: inner, headers, driftlock } = current as Record<string, unknown>;
      const remade = driftlock === undefined ? undefined : remake(driftlock, this);
      if (remade !== undefined) return remade;
      open.push(carriedBy(headers), cause);
      if (Array.isArray(errors)) for (const one of errors.slice(0, MAX_LOOKS)) open.push(one);
      open.push(toolError, inner);
    }
    return undefined;
  }
}

/** So many values are looked at in the search for an error. */
const MAX_LOOKS = 10_000;

/** An error of this class from its record, as a body carries it from another copy or process. */
function remake<T>(record: unknown, type: ErrorClass<T>): T | undefined {
  const read = readRecord(record);
  if (!read?.kinds.includes(type.kind)) return undefined;
  const error = Object.create(type.prototype as object, read.properties) as T;
  Object.defineProperty(error, "name", { value: read.kinds[0], configurable: true });
  return Object.defineProperty(error, brand, { value: read.kinds });
}

/** The names of an error's classes, its own first, if it is one of ours. */
export function kinds(error: unknown): readonly string[] | undefined {
  try {
    return typeof error === "object" && error !== null ? (error as { [brand]?: readonly string[] })[brand] : undefined;
  } catch {
    // A proxy that throws: anything can be thrown, and none of our errors is one.
    return undefined;
  }
}

function kindsOf(type: unknown): readonly string[] {
  const names: string[] = [];
  for (
    let at = type as ErrorClass<unknown> | null;
    at?.kind !== undefined;
    at = Object.getPrototypeOf(at) as typeof at
  ) {
    names.push(at.kind);
  }
  return names;
}

/** What something thrown says of itself, whatever it is. */
export function messageOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? String(thrown.message) : show(thrown);
  } catch {
    return show(thrown);
  }
}

/** A value as an error message may show it: short, on one line, never a secret-sized string. */
export function show(value: unknown): string {
  let text: string;
  try {
    text =
      typeof value === "string"
        ? JSON.stringify(value)
        : typeof value === "object" && value !== null
          ? Array.isArray(value)
            ? "an array"
            : "an object"
          : String(value);
  } catch {
    text = typeof value;
  }
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
