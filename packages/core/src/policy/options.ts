import type { Scope } from "../domain/claim.js";
import type { Context } from "../domain/context.js";
import { MAX_LABEL_LENGTH } from "../domain/labels.js";
import { MAX_USD } from "../domain/money.js";
import { ConfigError, reading } from "../errors/config-error.js";
import { RuleDecision } from "./decision.js";

/** A number, or a function of the call that answers one: plans and databases can set limits. null: no limit. */
export type Limit = number | ((context: Context) => number | null | Promise<number | null>);

const YEAR_SECONDS = 366 * 86_400;

/** Throws `ConfigError` unless `limit` is a number from 0 to `most` or a function. */
function checkLimit(rule: string, option: string, limit: unknown, most: number = MAX_USD): asserts limit is Limit {
  if (typeof limit === "function") return;
  checkNumber(`${rule}.${option}`, limit, most);
}

function checkNumber(field: string, value: unknown, most: number): asserts value is number {
  if (typeof value === "number" && value >= 0 && value <= most) return;
  throw new ConfigError({ field, value, problem: `must be a number from 0 to ${most.toLocaleString("en-US")}` });
}

/** Calls and tokens: any whole number a double keeps exactly. */
export const MAX_COUNT = Number.MAX_SAFE_INTEGER;

/** The decision a limit gives: made once for a number, at every call for a function. A bad answer throws, which blocks. */
export function limited(
  rule: string,
  option: string,
  limit: Limit,
  decide: (limit: number) => RuleDecision,
  most: number = MAX_USD,
): (context: Context) => RuleDecision | Promise<RuleDecision> {
  checkLimit(rule, option, limit, most);
  if (typeof limit === "number") {
    const decision = decide(limit);
    return () => decision;
  }
  const answer = (value: number | null) => {
    if (value === null) return RuleDecision.allow();
    checkNumber(`${rule}.${option}(context)`, value, most);
    return decide(value);
  };
  return (context) => {
    const value = limit(context);
    return value instanceof Promise ? value.then(answer) : answer(value);
  };
}

/** Throws `ConfigError` unless `scope` is "workspace", "user" or `{ label }`. */
export function checkScope(rule: string, scope: unknown): asserts scope is Scope {
  if (scope === "workspace" || scope === "user") return;
  const fields = (typeof scope === "object" && scope !== null ? scope : {}) as { label?: unknown; value?: unknown };
  const { label, value } = reading(`${rule}.scope`, scope, () => ({ label: fields.label, value: fields.value }));
  const isText = (text: unknown) => typeof text === "string" && text.length <= MAX_LABEL_LENGTH;
  if (isText(label) && label !== "" && (value === undefined || isText(value))) return;
  throw new ConfigError({
    field: `${rule}.scope`,
    value: scope,
    problem: 'must be "workspace", "user" or { label: "name" }',
  });
}

/** Throws `ConfigError` unless `seconds` is between a millisecond and a year. */
export function checkWindowSeconds(rule: string, seconds: unknown): asserts seconds is number {
  if (typeof seconds === "number" && seconds >= 0.001 && seconds <= YEAR_SECONDS) return;
  throw new ConfigError({
    field: `${rule}.windowSeconds`,
    value: seconds,
    problem: `must be a number of seconds from 0.001 to ${YEAR_SECONDS}`,
  });
}

/** Throws `ConfigError` unless `value` is a function or, where allowed, absent. */
export function checkFunction(field: string, value: unknown, optional = false): void {
  if (typeof value === "function" || (optional && value === undefined)) return;
  throw new ConfigError({ field, value, problem: "must be a function" });
}

/** An answer that must be there at once. A promise is refused, because nobody waits for it, and its failure is not left unhandled. */
export function atOnce<T>(what: string, answer: T): T {
  if (!(answer instanceof Promise)) return answer;
  answer.catch(() => {});
  throw new TypeError(`${what} must answer at once, not with a promise`);
}

/** A rule's options as data of its own. `ConfigError` unless they were given as an object: `new MonthlyBudgetRule(100)` is a mistake. */
export function readOptions<T extends object>(rule: string, options: T): T {
  return reading(rule, options, () => {
    if (typeof options === "object" && options !== null && !Array.isArray(options)) return { ...options };
    throw new ConfigError({ field: rule, value: options, problem: "takes an object of options" });
  });
}
