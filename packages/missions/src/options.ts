import { ConfigError, type Labels } from "@driftlock/core";
import type { Mission } from "./mission.js";
import { toNano } from "./nano.js";
import type { CallbackAnswer, InterveneOn, OnExceed, Terms } from "./terms.js";

/** The functions of a mission: they live in a process and are given again to `attach`. */
export interface MissionHooks {
  /** Asked with `onExceed: "callback"`, one question at a time. Whatever is none of the answers pauses the mission. */
  readonly callback?: ((mission: Mission) => CallbackAnswer | Promise<CallbackAnswer>) | undefined;
  /** Told once per mission, in one process. */
  readonly onWarning?: ((mission: Mission) => unknown) | undefined;
}

export interface MissionOptions extends MissionHooks {
  /** Missions of one name are compared with each other: their mean length is the forecast's. 1 to 128 characters. */
  readonly name: string;
  /** USD for the whole run, nested missions included. From 0 to 9,000,000. */
  readonly budgetUsd: number;
  /** Default "kill". */
  readonly onExceed?: OnExceed | undefined;
  /** The model of all later calls after a downgrade, or several, one for each further step. */
  readonly downgradeTo?: string | readonly string[] | undefined;
  /** Share of the budget at which `onWarning` is told. Default 0.8. */
  readonly warningThreshold?: number | undefined;
  /** Calls the run takes: makes the forecast sharper. */
  readonly expectedCalls?: number | undefined;
  /** Default: a fresh one. 1 to 128 characters. */
  readonly missionId?: string | undefined;
  /** What a known `missionId` means: a mistake, or that this mission goes on. Default "error". */
  readonly ifExists?: "error" | "attach" | undefined;
  /** For every call of the mission. */
  readonly labels?: Labels | undefined;
  readonly maxCalls?: number | undefined;
  /** Input and output tokens together. */
  readonly maxTokens?: number | undefined;
  /** ms after the start. */
  readonly maxDurationMs?: number | undefined;
  /** Default "breach" for kill and pause, else "low": a forecast alone never ends a run unless you ask for it. */
  readonly interveneOn?: InterveneOn | undefined;
  /** What a call of a paused mission does: fail with an error that `raise` makes good, or wait for the raise. Default "throw". */
  readonly onPause?: "throw" | "wait" | undefined;
  /** With `onExceed: "wrapUp"`: USD kept back for one last call without tools. */
  readonly wrapUp?: { readonly reserveUsd: number } | undefined;
  /** USD set aside for this mission out of the one around it, so that its siblings cannot starve it. */
  readonly slice?: { readonly usd: number } | undefined;
  /** USD that all raises together may add. Default: no bound. */
  readonly maxRaiseUsd?: number | undefined;
  /** ms the callback has for its answer. Default 30,000. */
  readonly callbackTimeoutMs?: number | undefined;
}

const MAX_USD = 9_000_000;
const MAX_NAME = 128;
const MAX_COUNT = 1_000_000_000_000;
const YEAR_MS = 366 * 86_400_000;
/** What a timer can wait. */
const TIMER_MS = 2 ** 31 - 1;

const known: ReadonlySet<string> = new Set<keyof MissionOptions>([
  "name",
  "budgetUsd",
  "onExceed",
  "callback",
  "downgradeTo",
  "onWarning",
  "warningThreshold",
  "expectedCalls",
  "missionId",
  "ifExists",
  "labels",
  "maxCalls",
  "maxTokens",
  "maxDurationMs",
  "interveneOn",
  "onPause",
  "wrapUp",
  "slice",
  "maxRaiseUsd",
  "callbackTimeoutMs",
]);

/** Options as data of their own. Throws `ConfigError` naming the field, its value and what is expected. */
export function readOptions(given: unknown): MissionOptions {
  const options = readObject("mission", given) as Partial<MissionOptions>;
  for (const key of Object.keys(options)) {
    if (!known.has(key)) fail(key, (options as Record<string, unknown>)[key], "is no option of a mission");
  }
  const { name, missionId, onExceed, downgradeTo, wrapUp, slice } = options;
  text("name", name);
  if (missionId !== undefined) text("missionId", missionId);
  number("budgetUsd", options.budgetUsd, 0, MAX_USD, "USD");
  oneOf("onExceed", onExceed, "downgrade", "pause", "kill", "wrapUp", "callback");
  oneOf("ifExists", options.ifExists, "error", "attach");
  oneOf("interveneOn", options.interveneOn, "breach", "low", "expected");
  oneOf("onPause", options.onPause, "throw", "wait");
  optional("warningThreshold", options.warningThreshold, 0, 1, "shares of the budget");
  optional("maxRaiseUsd", options.maxRaiseUsd, 0, MAX_USD, "USD");
  optional("maxDurationMs", options.maxDurationMs, 1, YEAR_MS, "ms");
  optional("callbackTimeoutMs", options.callbackTimeoutMs, 1, TIMER_MS, "ms");
  for (const field of ["expectedCalls", "maxCalls", "maxTokens"] as const) {
    optional(field, options[field], field === "expectedCalls" ? 1 : 0, MAX_COUNT, "them", Number.isInteger);
  }
  if (downgradeTo !== undefined) for (const model of ladderOf(downgradeTo)) text("downgradeTo", model);
  const needsLadder = onExceed === "downgrade";
  if (needsLadder && ladderOf(downgradeTo).length === 0)
    fail("downgradeTo", downgradeTo, 'must name a model, or several, with onExceed "downgrade"');
  checkHooks(options, onExceed);
  if (wrapUp !== undefined) {
    const { reserveUsd } = readObject("wrapUp", wrapUp) as { reserveUsd?: unknown };
    number("wrapUp.reserveUsd", reserveUsd, 0, options.budgetUsd!, "USD, and not above budgetUsd");
  }
  if (onExceed === "wrapUp" && wrapUp === undefined)
    fail("wrapUp", wrapUp, 'must be { reserveUsd }, what is kept back for the last call, with onExceed "wrapUp"');
  if (slice !== undefined) {
    const { usd } = readObject("slice", slice) as { usd?: unknown };
    number("slice.usd", usd, 0, options.budgetUsd!, "USD, and not above budgetUsd");
  }
  return options as MissionOptions;
}

/** Checks the functions; a mission that asks a callback needs one in every process that continues it. */
export function checkHooks({ callback, onWarning }: MissionHooks, onExceed: OnExceed | undefined): void {
  for (const [field, hook] of Object.entries({ callback, onWarning })) {
    if (hook !== undefined && typeof hook !== "function") fail(field, hook, "must be a function of the mission");
  }
  if (onExceed === "callback" && callback === undefined)
    fail("callback", callback, 'must be a function of the mission with onExceed "callback"');
}

/** What the ledger keeps of checked options. */
export function termsOf(
  options: MissionOptions,
  more: Pick<Terms, "startedAt" | "labels"> & { parent: string | undefined; past: Terms["past"] | undefined },
): Terms {
  const { onExceed = "kill", expectedCalls, maxCalls, maxTokens, maxDurationMs, maxRaiseUsd, slice } = options;
  return defined({
    v: 1 as const,
    name: options.name,
    budget: toNano(options.budgetUsd),
    onExceed,
    ladder: ladderOf(options.downgradeTo),
    warningThreshold: options.warningThreshold ?? 0.8,
    interveneOn: options.interveneOn ?? (onExceed === "kill" || onExceed === "pause" ? "breach" : "low"),
    onPause: options.onPause ?? "throw",
    callbackTimeoutMs: options.callbackTimeoutMs ?? 30_000,
    reserve: onExceed === "wrapUp" ? toNano(options.wrapUp!.reserveUsd) : 0,
    expectedCalls,
    maxCalls,
    maxTokens,
    maxDurationMs,
    maxRaise: maxRaiseUsd === undefined ? undefined : toNano(maxRaiseUsd),
    slice: slice === undefined ? undefined : toNano(slice.usd),
    ...more,
  });
}

/** An object's own fields, read once. */
export function readObject(field: string, given: unknown): Record<string, unknown> {
  if (typeof given !== "object" || given === null || Array.isArray(given)) fail(field, given, "must be an object");
  try {
    return { ...given };
  } catch (cause) {
    throw new ConfigError({ field, value: given, problem: "cannot be read", cause });
  }
}

export function text(field: string, value: unknown): asserts value is string {
  if (typeof value === "string" && value !== "" && value.length <= MAX_NAME) return;
  fail(field, value, `must be a string of 1 to ${MAX_NAME} characters`);
}

export function number(
  field: string,
  value: unknown,
  least: number,
  most: number,
  unit: string,
): asserts value is number {
  if (typeof value === "number" && value >= least && value <= most) return;
  fail(field, value, `must be a number from ${least} to ${most} of ${unit}`);
}

export function fail(field: string, value: unknown, problem: string): never {
  throw new ConfigError({ field, value, problem });
}

function optional(
  field: string,
  value: unknown,
  least: number,
  most: number,
  unit: string,
  sound: (value: number) => boolean = () => true,
): void {
  if (value === undefined) return;
  if (typeof value === "number" && value >= least && value <= most && sound(value)) return;
  fail(field, value, `must be a number from ${least} to ${most} of ${unit}`);
}

export function oneOf(field: string, value: unknown, ...words: readonly string[]): void {
  if (value === undefined || words.includes(value as string)) return;
  fail(field, value, `must be one of ${words.map((word) => JSON.stringify(word)).join(", ")}`);
}

function ladderOf(models: MissionOptions["downgradeTo"]): readonly string[] {
  if (models === undefined) return [];
  return typeof models === "string"
    ? [models]
    : Array.isArray(models)
      ? Array.from(models as readonly string[])
      : [models as never];
}

/** JSON has no undefined, and an option given as undefined is one not given. */
function defined<T extends object>(fields: { [Key in keyof T]: T[Key] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}
