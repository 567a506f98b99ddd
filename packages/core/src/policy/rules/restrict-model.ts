import type { Context } from "../../domain/context.js";
import { isVariantOf } from "../../domain/model-name.js";
import { RuleDecision } from "../decision.js";
import { atOnce, checkFunction, readOptions, modelSet } from "../options.js";
import { BaseRule, type RuleOptions } from "../rule.js";

export interface RestrictModelOptions extends RuleOptions {
  /** Model names; a dated variant of a listed model counts as it. */
  disallowedModels: Iterable<string>;
  /** Restricted only when this holds. Default: always. */
  condition?: ((context: Context) => boolean) | undefined;
}

/** Blocks calls to the listed models. */
export class RestrictModelRule extends BaseRule {
  readonly #models: ReadonlySet<string>;
  readonly #condition: ((context: Context) => boolean) | undefined;

  constructor(given: RestrictModelOptions) {
    const options = readOptions("RestrictModelRule", given);
    super(options, "RestrictModelRule");
    checkFunction(`${this.name}.condition`, options.condition, true);
    this.#models = modelSet(`${this.name}.disallowedModels`, options.disallowedModels);
    this.#condition = options.condition;
  }

  evaluate(context: Context): RuleDecision {
    const { model } = context;
    if (!listed(this.#models, model) || atOnce(`${this.name}.condition`, this.#condition?.(context)) === false)
      return RuleDecision.allow();
    return RuleDecision.block({ model });
  }
}

/** Whether a model, or one it is a dated variant of, is in the set. */
export function listed(models: ReadonlySet<string>, model: string): boolean {
  if (models.has(model)) return true;
  for (const name of models) if (isVariantOf(model, name)) return true;
  return false;
}
