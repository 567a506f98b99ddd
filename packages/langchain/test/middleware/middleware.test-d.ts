import { MonthlyBudgetRule, PolicyEngine } from "@driftlock/core";
import { driftlockMiddleware } from "@driftlock/langchain/middleware";
import { Missions } from "@driftlock/missions";
import { ChatOpenAI } from "@langchain/openai";
import { createAgent } from "langchain";
import { expectTypeOf, test } from "vitest";

const policy = new PolicyEngine({ rules: [new MonthlyBudgetRule({ maxUsd: 1 })] });
const missions = new Missions({ policy });

test("a mission takes the options of missions.start, but for what the middleware decides", () => {
  driftlockMiddleware({ policy, mission: { missions, per: "run", name: "research", budgetUsd: 1, onExceed: "pause" } });
  // @ts-expect-error -- the budget is missing
  driftlockMiddleware({ policy, mission: { missions, per: "run", name: "research" } });
  // @ts-expect-error -- no such intervention
  driftlockMiddleware({ policy, mission: { missions, per: "run", name: "research", budgetUsd: 1, onExceed: "stop" } });
  // @ts-expect-error -- the middleware names the mission
  driftlockMiddleware({ policy, mission: { missions, per: "run", name: "research", budgetUsd: 1, missionId: "m" } });
});

test("what an agent answers is what it would be without the middleware", () => {
  const plain = createAgent({ model: new ChatOpenAI(), tools: [] });
  const governed = createAgent({ model: new ChatOpenAI(), tools: [], middleware: [driftlockMiddleware({ policy })] });
  type Answer<T extends { invoke(...args: never[]): unknown }> = Awaited<ReturnType<T["invoke"]>>;
  expectTypeOf<Answer<typeof governed>["messages"]>().toEqualTypeOf<Answer<typeof plain>["messages"]>();
  expectTypeOf<"_run" extends keyof Answer<typeof governed> ? true : false>().toEqualTypeOf<false>();
});
