import { createHash } from "node:crypto";
import { ConfigError, withLabels, type Labels, type PolicyEngine } from "@driftlock/core";

/** The metadata of a LangChain run: the caller's own, with what LangChain and LangGraph add. */
export type Metadata = Readonly<Record<string, unknown>>;

/** What core takes of one call. */
const MAX_LABELS = 32;
const MAX_LENGTH = 256;

const usual = ["user_id", "thread_id", "lc_agent_name", "langgraph_node"];

/** Whose call it is, and what it is for. */
export interface LabelOptions {
  /** Labels of every call. Default: none. */
  labels?: Labels | undefined;
  /**
   * Picks a call's labels from the metadata of its run; they win over `labels`. Numbers and booleans become strings, other
   * values are left out, long ones hashed. Default: `user_id` (or `userId`), `thread_id`, `lc_agent_name`, `langgraph_node`,
   * and the labels that the policy's rules and its `track` name.
   */
  labelsFrom?: ((metadata: Metadata) => Readonly<Record<string, unknown>> | undefined) | undefined;
  /** Labels that metadata may not set, such as `user_id`: only `labels` and `withLabels` do. Default: none. */
  trustedLabels?: readonly string[] | undefined;
}

/** Finds the labels of each call. */
export class Labeller {
  readonly #own: Labels | undefined;
  readonly #from: (metadata: Metadata) => unknown;
  readonly #trusted: ReadonlySet<string>;
  readonly #names: readonly string[];

  /** @throws ConfigError naming the option and its value. */
  constructor({ labels, labelsFrom, trustedLabels }: LabelOptions, policy: PolicyEngine) {
    const check = (field: string, value: unknown, isSound: boolean, problem: string) => {
      if (value !== undefined && !isSound) throw new ConfigError({ field, value, problem });
    };
    check("labelsFrom", labelsFrom, typeof labelsFrom === "function", "must be a function");
    const isNames = Array.isArray(trustedLabels) && trustedLabels.every((name) => typeof name === "string");
    check("trustedLabels", trustedLabels, isNames, "must be an array of label names");
    // Checks them as the policy will.
    if (labels !== undefined) withLabels(labels, () => undefined);
    this.#names = policy.labelNames;
    this.#own = labels;
    this.#from = labelsFrom ?? ((metadata) => labelsFromMetadata(metadata, this.#names));
    this.#trusted = new Set(trustedLabels);
  }

  /** @throws ConfigError when `labelsFrom` fails: a call whose user is not known could pass that user's limits. */
  labelsOf(metadata: Metadata = {}): Labels {
    return withPicked(this.#own, this.#pick(metadata), this.#trusted, this.#names);
  }

  #pick(metadata: Metadata): unknown {
    try {
      const picked = this.#from(metadata);
      if (typeof (picked as { then?: unknown } | undefined)?.then === "function")
        throw new TypeError("it answered a promise");
      return picked;
    } catch (cause) {
      const problem = "must answer at once, and not throw";
      throw new ConfigError({ field: "labelsFrom", value: this.#from, problem, cause });
    }
  }
}

/** The usual identity of a run, and the labels the policy counts by. */
function labelsFromMetadata(metadata: Metadata, names: readonly string[]): Metadata {
  const picked: Record<string, unknown> = Object.create(null);
  for (const name of [...usual, ...names]) picked[name] = read(metadata, name);
  picked["user_id"] ??= read(metadata, "userId");
  return picked;
}

/** `own` labels with those of whatever a host's metadata holds: never throws, leaves out what is barred or cannot be a label. */
function withPicked(
  own: Labels | undefined,
  picked: unknown,
  barred: ReadonlySet<string>,
  names: readonly string[] = [],
): Labels {
  const labels: Record<string, string> = Object.assign(Object.create(null), own);
  if (typeof picked !== "object" || picked === null) return labels;
  let count = Object.keys(labels).length;
  // What rules count by comes first: it must not be among what is left out.
  for (const name of new Set([...usual, ...names, ...Object.keys(picked)])) {
    if (barred.has(name) || name === "" || name.length > MAX_LENGTH || name === "__proto__") continue;
    const value = asLabel(read(picked as Metadata, name));
    if (value === undefined || (labels[name] === undefined && ++count > MAX_LABELS)) continue;
    labels[name] = value;
  }
  return labels;
}

function asLabel(value: unknown): string | undefined {
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean")
    return asLabel(String(value));
  if (typeof value !== "string") return undefined;
  return value.length <= MAX_LENGTH ? value : `sha256:${createHash("sha256").update(value).digest("hex")}`;
}

/** Metadata is the host's: a getter in it may throw. */
function read(metadata: Metadata, name: string): unknown {
  try {
    return Object.hasOwn(metadata, name) ? metadata[name] : undefined;
  } catch {
    return undefined;
  }
}
