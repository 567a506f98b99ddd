import { MonthlyBudgetRule, PolicyEngine } from "@driftlock/core";
import { driftlockMiddleware } from "@driftlock/langchain/middleware";
import { createAgent } from "langchain";
import { describe, expect, it } from "vitest";
import { chatOn } from "../harness.js";
import { setUpAgent } from "./kit.js";
import { OwnMissions } from "./own-missions.js";

const policy = new PolicyEngine({ rules: [new MonthlyBudgetRule({ maxUsd: 1 })], store: "memory" });
const missions = new OwnMissions();

describe("an option that cannot be used is a ConfigError naming it, at construction", () => {
  it.each<[string, object]>([
    ["policy", { policy: undefined }],
    ["policy", { policy: {} }],
    ["model", { model: "" }],
    ["models", { models: "gpt-4o" }],
    ["models.small", { models: { small: {} } }],
    ["labels.user_id", { labels: { user_id: 7 } }],
    ["labelsFrom", { labelsFrom: "user_id" }],
    ["trustedLabels", { trustedLabels: "user_id" }],
    ["exitBehavior", { exitBehavior: "throw" }],
    ["onFailure", { onFailure: "raise" }],
    ["id", { id: "" }],
    ["runLimit", { runLimit: -1 }],
    ["runLimit", { runLimit: 1.5 }],
    ["threadLimit", { threadLimit: Number.NaN }],
    ["toolCosts", { toolCosts: 5 }],
    ["toolCosts.search", { toolCosts: { search: -0.01 } }],
    ["toolCosts.search", { toolCosts: { search: Number.NaN } }],
    ["toolCosts.search", { toolCosts: { search: "1" } }],
    ["toolCallLimits", { toolCallLimits: {} }],
    ["toolCallLimits[0]", { toolCallLimits: [{}] }],
    ["toolCallLimits[0]", { toolCallLimits: [7] }],
    ["toolCallLimits[1].runLimit", { toolCallLimits: [{ runLimit: 1 }, { runLimit: "2" }] }],
    ["toolCallLimits[0].toolName", { toolCallLimits: [{ toolName: "", runLimit: 1 }] }],
    ["mission.missions", { mission: { per: "run" } }],
    ["mission.missions", { mission: null }],
    ["mission.per", { mission: { missions, budgetUsd: 1 } }],
  ])("%s: %o", (field, given) => {
    const options = { policy, ...given } as never;
    expect(() => driftlockMiddleware(options)).toThrowError(expect.objectContaining({ name: "ConfigError", field }));
  });

  it("nothing at all", () => {
    expect(() => driftlockMiddleware(undefined as never)).toThrowError(expect.objectContaining({ field: "policy" }));
  });

  it("an option given as undefined equals one not given", () => {
    const names = [
      "mission",
      "models",
      "model",
      "labels",
      "exitBehavior",
      "toolCosts",
      "toolCallLimits",
      "id",
      "runLimit",
    ];
    const options = Object.fromEntries(names.map((name) => [name, undefined]));
    expect(driftlockMiddleware({ policy, ...options }).name).toBe("DriftlockMiddleware");
  });
});

describe("two middlewares of one agent", () => {
  it("need names of their own, which LangChain says", async () => {
    const { governing, server } = await setUpAgent({ rules: [] });
    const make = (...middleware: ReturnType<typeof governing>[]) =>
      createAgent({ model: chatOn(server), tools: [], middleware });
    expect(() => make(governing(), governing())).toThrowError("DriftlockMiddleware is defined multiple times");
    expect(() => make(governing(), governing({ id: "two" }))).not.toThrow();
  });
});
