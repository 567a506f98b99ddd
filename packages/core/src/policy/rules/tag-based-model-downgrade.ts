import type { Context } from "../../domain/context.js";
import { ConfigError } from "../../errors/config-error.js";
import { RuleDecision } from "../decision.js";
import { atOnce, checkFunction, readOptions } from "../options.js";
import { BaseRule, type RuleOptions } from "../rule.js";

export interface TagBasedModelDowngradeOptions extends RuleOptions {
  /** Judges labels, model, anything of the context. */
  condition: (context: Context) => boolean;
  downgradeTo: string;
}

/** Silently swaps the model when the condition holds; the rules after it judge the new one. Never blocks. */
export class TagBasedModelDowngradeRule extends BaseRule {
  readonly #condition: (context: Context) => boolean;
  readonly #downgrade: RuleDecision;

  constructor(given: TagBasedModelDowngradeOptions) {
    const options = readOptions("TagBasedModelDowngradeRule", given);
    super(options, "TagBasedModelDowngradeRule");
    checkFunction(`${this.name}.condition`, options.condition);
    if (typeof options.downgradeTo !== "string" || options.downgradeTo === "") {
      throw new ConfigError({
        field: `${this.name}.downgradeTo`,
        value: options.downgradeTo,
        problem: "must be a model's name",
      });
    }
    this.#condition = options.condition;
    this.#downgrade = RuleDecision.downgrade(options.downgradeTo);
  }

  evaluate(context: Context): RuleDecision {
    return atOnce(`${this.name}.condition`, this.#condition(context)) ? this.#downgrade : RuleDecision.allow();
  }
}
