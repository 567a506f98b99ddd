import type { Context } from "../../domain/context.js";
import { RuleDecision } from "../decision.js";
import { atOnce, checkFunction, readOptions } from "../options.js";
import { ModelList } from "../model-list.js";
import { BaseRule, type RuleOptions } from "../rule.js";

export interface RestrictModelOptions extends RuleOptions {
  /** Model names; a dated variant of a listed model counts as it. */
  disallowedModels: Iterable<string>;
  /** Restricted only when this holds. Default: always. */
  condition?: ((context: Context) => boolean) | undefined;
}

/** Blocks calls to the listed models. */
export class RestrictModelRule extends BaseRule {
  readonly #models: ModelList;
  readonly #condition: ((context: Context) => boolean) | undefined;

  constructor(given: RestrictModelOptions) {
    const options = readOptions("RestrictModelRule", given);
    super(options, "RestrictModelRule");
    checkFunction(`${this.name}.condition`, options.condition, true);
    this.#models = new ModelList(`${this.name}.disallowedModels`, options.disallowedModels);
    this.#condition = options.condition;
  }

  evaluate(context: Context): RuleDecision {
    const { model } = context;
    if (!this.#models.has(model) || atOnce(`${this.name}.condition`, this.#condition?.(context)) === false)
      return RuleDecision.allow();
    return RuleDecision.block({ model });
  }
}
