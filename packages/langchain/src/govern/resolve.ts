import { ConfigError } from "@driftlock/core";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { RunnableConfig } from "@langchain/core/runnables";
import { isChatModel } from "./operations.js";

/** What `initChatModel()` gives: it finds the model for each call. */
interface ConfigurableModel extends BaseChatModel {
  _getModelInstance(config?: RunnableConfig): Promise<unknown>;
}

export function isConfigurable(model: BaseChatModel): model is ConfigurableModel {
  return "_queuedMethodOperations" in model && "_getModelInstance" in model;
}

/** The model itself: for `initChatModel()`, the one it calls with this config. */
export async function resolve(model: BaseChatModel, config: RunnableConfig): Promise<BaseChatModel> {
  if (!isConfigurable(model)) return model;
  const resolved = await model._getModelInstance(config);
  if (isChatModel(resolved)) return resolved;
  const problem = "of initChatModel() has tools or a structure bound to it; bind them to the governed model instead";
  throw new ConfigError({ field: "model", value: model.getName(), problem });
}
