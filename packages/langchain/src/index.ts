export { DriftlockCallbackHandler, type DriftlockCallbackHandlerOptions } from "./handler.js";
export { governEmbeddings, type GovernEmbeddingsOptions } from "./embeddings.js";
export { govern } from "./govern/govern.js";
export type { GovernedChatModel } from "./govern/governed-chat-model.js";
export type { GovernOptions } from "./govern/governor.js";
export type { Models } from "./govern/targets.js";
export type { LabelOptions, Metadata } from "./labels.js";
