/** Labels of a call: who and what it is for. The user is `user_id`. */
export type Labels = Readonly<Record<string, string>>;

const MAX_LABELS = 32;
export const MAX_LABEL_LENGTH = 256;
export const USER_LABEL = "user_id";

const none: Labels = Object.freeze(Object.create(null) as Record<string, string>);

/** Labels in a frozen map without a prototype; the later sources win. */
export function mergeLabels(...sources: readonly (Labels | undefined)[]): Labels {
  let given: Labels | undefined;
  let merged: Record<string, string> | undefined;
  for (const source of sources) {
    if (source === undefined || source === none) continue;
    if (given === undefined) {
      given = source;
      continue;
    }
    merged ??= copyLabels(given);
    for (const key of Object.keys(source)) merged[key] = source[key]!;
  }
  if (merged !== undefined) return Object.freeze(merged);
  return given === undefined
    ? none
    : Object.isFrozen(given) && Object.getPrototypeOf(given) === null
      ? given
      : Object.freeze(copyLabels(given));
}

/** The labels in a map of their own, without a prototype. */
export function copyLabels(labels: Labels): Record<string, string> {
  const map = Object.create(null) as Record<string, string>;
  for (const key of Object.keys(labels)) map[key] = labels[key]!;
  return map;
}

/** What is wrong with labels given by an application; `undefined` when they are sound. */
export function labelsProblem(labels: unknown): { field: string; value: unknown; problem: string } | undefined {
  if (typeof labels !== "object" || labels === null || Array.isArray(labels)) {
    return { field: "labels", value: labels, problem: "must be an object of strings" };
  }
  const keys = Object.keys(labels);
  if (keys.length > MAX_LABELS) {
    return { field: "labels", value: keys.length, problem: `must hold at most ${MAX_LABELS} labels` };
  }
  for (const key of keys) {
    const value = (labels as Record<string, unknown>)[key];
    if (key.length === 0 || key.length > MAX_LABEL_LENGTH || key === "__proto__") {
      return {
        field: "labels",
        value: key,
        problem: `a label's name must have 1 to ${MAX_LABEL_LENGTH} characters and not be __proto__`,
      };
    }
    if (typeof value !== "string" || value.length > MAX_LABEL_LENGTH) {
      return { field: `labels.${key}`, value, problem: `must be a string of at most ${MAX_LABEL_LENGTH} characters` };
    }
  }
  return undefined;
}
