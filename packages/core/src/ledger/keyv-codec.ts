import type { Keyv } from "keyv";
import type { Maybe } from "./ledger.js";

/** What was found under a key. */
interface Opened {
  /** Parsed; undefined: nothing there. */
  readonly record: unknown;
  readonly expires: number | undefined;
}

/** How a Keyv writes and reads what it stores: its own iterator finds nothing strange among the ledger's records. */
export interface Codec {
  seal(json: string, expires: number | undefined): Maybe<unknown>;
  open(key: string, stored: unknown): Maybe<Opened>;
}

/** A Keyv's envelope around every value. */
interface Envelope {
  readonly value?: unknown;
  readonly expires?: unknown;
}

/** The Keyv methods that differ between keyv 5 and 6. */
interface AnyKeyv {
  encode?(envelope: Envelope): unknown;
  decode?(stored: unknown): unknown;
  serializeData?(envelope: Envelope): unknown;
  deserializeData?(stored: unknown): unknown;
}

/**
 * Finds out how this Keyv encodes. The default format is JSON as it stands, so records need no second encoding in it; any
 * other (compression, encryption, a serializer of the user's) gets them as strings. Throws when it does not give those back.
 */
export async function codecOf(keyv: Keyv): Promise<Codec> {
  const any = keyv as unknown as AnyKeyv;
  const encode = async (envelope: Envelope) =>
    any.encode ? any.encode(envelope) : any.serializeData ? any.serializeData(envelope) : JSON.stringify(envelope);
  const decode = async (stored: unknown) =>
    isEnvelope(stored) ? stored : any.decode ? any.decode(stored) : any.deserializeData?.(stored);

  const sample = { value: '{"driftlock":[1,null]}', expires: 1 };
  const encoded = await encode(sample);
  if (encoded === JSON.stringify(sample)) return plain;
  const decoded = (await decode(encoded)) as Envelope | undefined;
  if (decoded?.value !== sample.value) {
    throw new Error("the Keyv's serialization or compression does not give back what it was given");
  }
  return {
    seal: (json, expires) => encode({ value: json, expires }),
    async open(key, stored) {
      if (stored === undefined || stored === null) return nothing;
      const { value, expires } = ((await decode(stored)) ?? {}) as Envelope;
      if (typeof value !== "string") throw unreadable(key);
      return { record: parse(key, value), expires: instant(expires) };
    },
  };
}

const nothing: Opened = { record: undefined, expires: undefined };

const plain: Codec = {
  seal: (json, expires) => (expires === undefined ? `{"value":${json}}` : `{"value":${json},"expires":${expires}}`),
  open(key, stored) {
    if (stored === undefined || stored === null) return nothing;
    const envelope = typeof stored === "string" ? parse(key, stored) : stored;
    if (!isEnvelope(envelope) || envelope.value === undefined || envelope.value === null) throw unreadable(key);
    return { record: envelope.value, expires: instant(envelope.expires) };
  },
};

function isEnvelope(value: unknown): value is Envelope {
  return typeof value === "object" && value !== null && "value" in value;
}

function instant(expires: unknown): number | undefined {
  return typeof expires === "number" ? expires : undefined;
}

function parse(key: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unreadable(key, cause);
  }
}

function unreadable(key: string, cause?: unknown): Error {
  return new Error(`the record under "${key}" cannot be read`, { cause });
}
