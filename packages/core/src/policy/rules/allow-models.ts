import type { Context } from "../../domain/context.js";
import { RuleDecision } from "../decision.js";
import { atOnce, checkFunction, readOptions } from "../options.js";
import { ModelList } from "../model-list.js";
import { BaseRule, type RuleOptions } from "../rule.js";

export interface AllowModelsOptions extends RuleOptions {
  /** The only model names that pass; a dated variant of a listed model counts as it. */
  models: Iterable<string>;
  /** Limited to the list only when this holds. Default: always. */
  condition?: ((context: Context) => boolean) | undefined;
}

/** Blocks calls to every model but the listed ones. */
export class AllowModelsRule extends BaseRule {
  readonly #models: ModelList;
  readonly #condition: ((context: Context) => boolean) | undefined;

  constructor(given: AllowModelsOptions) {
    const options = readOptions("AllowModelsRule", given);
    super(options, "AllowModelsRule");
    checkFunction(`${this.name}.condition`, options.condition, true);
    this.#models = new ModelList(`${this.name}.models`, options.models);
    this.#condition = options.condition;
  }

  evaluate(context: Context): RuleDecision {
    const { model } = context;
    if (this.#models.has(model) || atOnce(`${this.name}.condition`, this.#condition?.(context)) === false)
      return RuleDecision.allow();
    return RuleDecision.block({ model });
  }
}
