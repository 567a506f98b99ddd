import { AsyncLocalStorage } from "node:async_hooks";
import { copyLabels, labelsProblem, mergeLabels, type Labels } from "../domain/labels.js";
import { ConfigError, reading } from "../errors/config-error.js";
import { checkRule, type Rule } from "../policy/rule.js";

/** What a block of code lays over every call made inside it. */
export interface Ambient {
  readonly labels: Labels;
  /** Judged after the engine's own rules, outermost block first. */
  readonly rules: readonly Rule[];
  readonly mission?: { readonly id: string };
  /** The code runs inside a governed call that is still open: a call from here must not wait for it. */
  readonly insideCall?: boolean;
}

/** One storage for every copy of the package in the process. */
const key = Symbol.for("driftlock.ambient");
const shared = globalThis as { [key]?: AsyncLocalStorage<Ambient> };
const storage = (shared[key] ??= new AsyncLocalStorage<Ambient>());

/** What surrounds the running code, if anything. */
export function currentAmbient(): Ambient | undefined {
  return storage.getStore();
}

/**
 * Runs `run` with labels and rules for every call in it, also in what it starts asynchronously. Blocks nest and merge.
 * @throws ConfigError naming what cannot be used.
 */
export function withAmbient<T>(ambient: Partial<Ambient>, run: () => T): T {
  const inner = readAmbient(ambient);
  if (typeof run !== "function") throw new ConfigError({ field: "run", value: run, problem: "must be a function" });
  return storage.run(nest(storage.getStore(), inner), run);
}

/** Runs `run` with labels for every call in it: `withLabels({ user_id: "ada" }, () => agent.invoke(…))`. */
export function withLabels<T>(labels: Labels, run: () => T): T {
  return withAmbient({ labels }, run);
}

/** What was given, as data of its own. Throws `ConfigError` unless all of it is sound. */
export function readAmbient(given: Partial<Ambient>): Partial<Ambient> {
  return reading("ambient", given, () => {
    const wrong = (field: string, value: unknown, problem: string) => new ConfigError({ field, value, problem });
    if (typeof given !== "object" || given === null)
      throw wrong("ambient", given, "must be an object { labels?, rules? }");
    const { labels, rules, mission, insideCall } = given;
    if (rules !== undefined && !Array.isArray(rules)) throw wrong("ambient.rules", rules, "must be an array of rules");
    // A copy has no holes.
    const list = rules && Array.from(rules);
    list?.forEach((rule, i) => checkRule(rule, `ambient.rules[${i}]`));
    if (mission !== undefined && typeof mission?.id !== "string")
      throw wrong("ambient.mission", mission, "must be an object with an id");
    if (insideCall !== undefined && typeof insideCall !== "boolean")
      throw wrong("ambient.insideCall", insideCall, "must be true or false");
    return {
      labels: labels === undefined ? undefined : readLabels(labels),
      rules: list,
      mission,
      insideCall,
    } as Partial<Ambient>;
  });
}

/** Labels of an application as data of their own: what is checked is what is used. Throws `ConfigError` unless they are sound. */
export function readLabels(given: unknown): Labels {
  return reading("labels", given, () => {
    const isMap = typeof given === "object" && given !== null && !Array.isArray(given);
    const labels = isMap ? copyLabels(given as Labels) : given;
    const wrong = labelsProblem(labels);
    if (wrong !== undefined) throw new ConfigError(wrong);
    return labels as Labels;
  });
}

function nest(outer: Ambient | undefined, inner: Partial<Ambient>): Ambient {
  const mission = inner.mission ?? outer?.mission;
  return {
    labels: mergeLabels(outer?.labels, inner.labels),
    rules:
      outer === undefined || outer.rules.length === 0 ? (inner.rules ?? []) : [...outer.rules, ...(inner.rules ?? [])],
    insideCall: inner.insideCall ?? outer?.insideCall ?? false,
    ...(mission === undefined ? {} : { mission }),
  };
}
