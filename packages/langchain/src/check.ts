import { ConfigError, type PolicyEngine } from "@driftlock/core";

/** @throws ConfigError unless it is a `PolicyEngine`, of whatever copy of the package. */
export function checkPolicy(policy: unknown): asserts policy is PolicyEngine {
  if (typeof (policy as PolicyEngine | undefined)?.authorize === "function") return;
  throw new ConfigError({ field: "policy", value: policy, problem: "must be a PolicyEngine" });
}

/** @throws ConfigError unless it is a name, or not given. */
export function checkModelName(model: unknown): asserts model is string | undefined {
  if (model === undefined || (typeof model === "string" && model !== "")) return;
  throw new ConfigError({ field: "model", value: model, problem: "must be a model's name" });
}
