import { isVariantOf } from "../domain/model-name.js";
import { ConfigError, reading } from "../errors/config-error.js";

/** Names whose answer is remembered; callers may send any number of invented ones. */
const MAX_REMEMBERED = 256;

/** Listed models. A model is in the list when it, or one it is a dated variant of, is named. */
export class ModelList {
  readonly #names: readonly string[];
  readonly #answers = new Map<string, boolean>();

  /** Takes any iterable but a string. Throws `ConfigError` naming `field` for anything else. */
  constructor(field: string, models: unknown) {
    this.#names = reading(field, models, () => {
      const iterable = typeof models === "object" && models !== null && Symbol.iterator in models;
      const names = iterable ? [...(models as Iterable<unknown>)] : undefined;
      if (names === undefined || !names.every((name) => typeof name === "string" && name !== "")) {
        throw new ConfigError({ field, value: models, problem: "must be an array or set of model names" });
      }
      return names as string[];
    });
  }

  has(model: string): boolean {
    let answer = this.#answers.get(model);
    if (answer === undefined) {
      answer = this.#names.some((name) => isVariantOf(model, name));
      if (this.#answers.size >= MAX_REMEMBERED) this.#answers.clear();
      this.#answers.set(model, answer);
    }
    return answer;
  }
}
