import { ConfigError, type PolicyEngine } from "@driftlock/core";
// Once in a process: without it a model called inside a RunnableLambda without a config gets no callbacks.
import "@langchain/core/context";
import type { BaseChatModel, BaseChatModelCallOptions } from "@langchain/core/language_models/chat_models";
import { checkModelName, checkPolicy } from "../check.js";
import { GovernedChatModel } from "./governed-chat-model.js";
import { Governor, type GovernOptions } from "./governor.js";
import { isChatModel } from "./operations.js";

/**
 * A chat model under a policy: every attempt asks the policy before it is sent, carries the model and the maximum of output
 * tokens that the policy granted, and is settled at what it used. Use it wherever the model itself would be used.
 *
 * ```ts
 * const model = govern(new ChatOpenAI({ model: "gpt-4o" }), { policy });
 * ```
 *
 * @throws ConfigError naming the option and its value.
 */
export function govern<Model extends BaseChatModel>(
  model: Model,
  options: GovernOptions,
): GovernedChatModel<Model extends BaseChatModel<infer CallOptions> ? CallOptions : BaseChatModelCallOptions> {
  const { policy, model: name } = (options ?? {}) as Partial<GovernOptions>;
  checkPolicy(policy);
  checkModelName(name);
  if (!isChatModel(model)) {
    const problem = "must be a chat model; bind tools, a structure or a config to the governed model, not before";
    throw new ConfigError({ field: "model", value: model, problem });
  }
  if (governedBy(model) === policy) {
    throw new ConfigError({ field: "model", value: model.getName(), problem: "is governed by this policy already" });
  }
  return new GovernedChatModel({ source: model, governor: new Governor(options), operations: [], config: undefined });
}

/** The policy that a chat model is governed by, if any. */
export function governedBy(model: unknown): PolicyEngine | undefined {
  return model instanceof GovernedChatModel ? model.policy : undefined;
}
