import type { AccountState } from "../domain/account-state.js";
import type { Claim, Reading, Scope, Shortfall } from "../domain/claim.js";
import type { Context } from "../domain/context.js";
import type { Receipt, Used } from "../domain/receipt.js";
import { ConfigError, reading } from "../errors/config-error.js";
import {
  CircuitOpenError,
  type PolicyViolationError,
  type ViolationDetails,
} from "../errors/policy-violation-error.js";
import type { Metadata, RuleDecision } from "./decision.js";
import { readOptions } from "./options.js";

/** Whether a rule enforces or only watches: a rule in shadow never waits, clamps, swaps or blocks. */
export type Mode = "enforce" | "shadow";

/** One rule. A plain object of this shape is accepted wherever a `BaseRule` is. */
export interface Rule {
  /** Shown in errors, events and `usage`. */
  readonly name: string;
  readonly mode?: Mode | undefined;
  /** What its limit counts by. Adapters look for a label named here in their host's metadata. */
  readonly scope?: Scope | undefined;
  /** The rule applies only to calls for which this holds. */
  readonly when?: ((context: Context) => boolean | Promise<boolean>) | undefined;
  /** Pure: it runs once per model tried, and again after each wait. Throwing blocks the call. */
  evaluate(context: Context): RuleDecision | Promise<RuleDecision>;
  /** The metadata of the block when one of its claims was refused. Default: the shortfall's numbers. */
  explain?(context: Context, shortfall: Shortfall): Metadata;
  /** Answers a refused claim of its own: a downgrade, a block, or nothing. Asked before anything waits. */
  onShortfall?(context: Context, shortfall: Shortfall): RuleDecision | null | undefined;
  /** The state behind a claim with `seen` is another than the rule knew: learn it. Throwing refuses the call. */
  onStale?(claim: Claim, state: AccountState): void;
  /** Sees its own meters after the close, in the order of its claims. Isolated: throwing changes nothing. */
  onClosed?(context: Context, receipt: Receipt, readings: readonly Reading[], used: Used): void;
  /** The error of its block. Default: `PolicyViolationError`. */
  violation?(details: ViolationDetails): PolicyViolationError;
}

export interface RuleOptions {
  /** Default: the class's name. */
  name?: string | undefined;
  /** The rule applies only to calls for which this holds. Default: to all. */
  when?: ((context: Context) => boolean | Promise<boolean>) | undefined;
  /** Default "enforce". */
  mode?: Mode | undefined;
}

/** The base of rules: name, `when` and `mode`, checked at construction. */
export abstract class BaseRule implements Rule {
  readonly name: string;
  readonly mode: Mode | undefined;
  readonly when: ((context: Context) => boolean | Promise<boolean>) | undefined;

  /** `name` is a literal in every rule: minifiers rename classes. */
  constructor(given: RuleOptions = {}, name: string = new.target.name) {
    const { name: own = name, mode, when } = readOptions(name || "rule", given);
    this.name = own;
    this.mode = mode;
    this.when = when;
    checkFields(this, isName(own) ? own : name);
  }

  abstract evaluate(context: Context): RuleDecision | Promise<RuleDecision>;
}

/** A breaker on a rate: its refusal is a `CircuitOpenError`. */
export abstract class BreakerRule extends BaseRule {
  violation(details: ViolationDetails): PolicyViolationError {
    return new CircuitOpenError(details);
  }
}

/** Checks the shape of a rule; throws `ConfigError` naming the field under `where`. */
export function checkRule(rule: unknown, where: string): asserts rule is Rule {
  if (typeof rule !== "object" || rule === null) {
    throw new ConfigError({
      field: where,
      value: rule,
      problem: "must be a rule: an object with a name and evaluate(context)",
    });
  }
  check(where, rule, "evaluate", (value) => typeof value === "function", "must be a function of the context");
  checkFields(rule, where);
}

function isName(value: unknown): boolean {
  return typeof value === "string" && value !== "" && value.length <= 128;
}

/** All but `evaluate`, which a subclass may still be about to set. */
function checkFields(rule: object, where: string): void {
  check(where, rule, "name", isName, "must be a string of 1 to 128 characters");
  check(
    where,
    rule,
    "mode",
    (value) => value === undefined || value === "enforce" || value === "shadow",
    'must be "enforce" or "shadow"',
  );
  for (const hook of ["when", "explain", "onShortfall", "onStale", "onClosed", "violation"] as const) {
    check(where, rule, hook, (value) => value === undefined || typeof value === "function", "must be a function");
  }
}

function check(
  where: string,
  rule: Partial<Record<keyof Rule, unknown>>,
  field: keyof Rule,
  sound: (value: unknown) => boolean,
  problem: string,
): void {
  const name = `${where}.${field}`;
  const value = reading(name, undefined, () => rule[field]);
  if (!sound(value)) throw new ConfigError({ field: name, value, problem });
}
