import { ConfigError } from "@driftlock/core";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { isChatModel } from "./operations.js";
import { rebuild, type Changes } from "./rebuild.js";

/** The models that a policy may downgrade to: by name, or a function that gives them. */
export type Models =
  | Readonly<Record<string, BaseChatModel>>
  | ((name: string) => BaseChatModel | undefined | Promise<BaseChatModel | undefined>);

/** Rebuilt models kept for each model; their maxima repeat, unless money is short. */
const MOST = 32;

/** Finds and makes the models that calls go to. */
export class Targets {
  readonly #models: Models | undefined;
  readonly #made = new WeakMap<BaseChatModel, Map<string, BaseChatModel>>();

  /** @throws ConfigError when an entry is no chat model. */
  constructor(models: Models | undefined) {
    if (typeof models === "object" && models !== null) {
      for (const [name, model] of Object.entries(models)) checkChatModel(`models.${name}`, model);
    } else if (models !== undefined && typeof models !== "function") {
      const problem = "must be an object of chat models by name, or a function that gives one";
      throw new ConfigError({ field: "models", value: models, problem });
    }
    this.#models = models;
  }

  /** The model of that name, or `undefined` where `source` is to be asked under it. */
  async named(name: string): Promise<BaseChatModel | undefined> {
    const models = this.#models;
    if (models === undefined) return undefined;
    const model =
      typeof models === "function" ? await models(name) : Object.hasOwn(models, name) ? models[name] : undefined;
    checkChatModel(typeof models === "function" ? `models(${JSON.stringify(name)})` : `models.${name}`, model);
    return model;
  }

  /** The model with changes; made once for each. */
  with(model: BaseChatModel, changes: Pick<Changes, "model" | "maxOutputTokens">): BaseChatModel {
    let made = this.#made.get(model);
    if (made === undefined) this.#made.set(model, (made = new Map()));
    const key = `${changes.maxOutputTokens} ${changes.model}`;
    let again = made.get(key);
    if (again === undefined) {
      // The oldest goes.
      if (made.size >= MOST) made.delete(made.keys().next().value!);
      made.set(key, (again = rebuild(model, { ...changes, maxRetries: 0 })));
    }
    return again;
  }
}

function checkChatModel(field: string, model: unknown): asserts model is BaseChatModel {
  if (isChatModel(model)) return;
  throw new ConfigError({ field, value: model, problem: "must be a chat model" });
}
