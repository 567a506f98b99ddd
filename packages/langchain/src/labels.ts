import { createHash } from "node:crypto";
import type { Labels } from "@driftlock/core";

/** The metadata of a LangChain run: the caller's own, with what LangChain and LangGraph add. */
export type Metadata = Readonly<Record<string, unknown>>;

/** What core takes of one call. */
const MAX_LABELS = 32;
const MAX_LENGTH = 256;

const usual = ["user_id", "thread_id", "lc_agent_name", "langgraph_node"];

/** The usual identity of a run, and the labels the policy counts by. */
export function labelsFromMetadata(metadata: Metadata, names: readonly string[]): Metadata {
  const picked: Record<string, unknown> = Object.create(null);
  for (const name of [...usual, ...names]) picked[name] = read(metadata, name);
  picked["user_id"] ??= read(metadata, "userId");
  return picked;
}

/** `own` labels with those of whatever a host's metadata holds: never throws, leaves out what is barred or cannot be a label. */
export function withPicked(
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
