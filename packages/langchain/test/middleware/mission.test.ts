import { MonthlyBudgetRule, PolicyViolationError, withAmbient } from "@driftlock/core";
import { MemorySaver } from "@langchain/langgraph";
import { createAgent, modelRetryMiddleware, toolRetryMiddleware } from "langchain";
import { describe, expect, it } from "vitest";
import { failure, spend } from "../harness.js";
import { calls, counted, question, setUpAgent, words } from "./kit.js";
import { OwnMissions } from "./own-missions.js";

const rules = [new MonthlyBudgetRule({ maxUsd: 100 })];
const retries = [modelRetryMiddleware({ initialDelayMs: 0 }), toolRetryMiddleware({ initialDelayMs: 0 })];

describe("a mission of each run", () => {
  it("holds for a run's model calls and tools, and each run has its own", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script(() => calls("search"));
    const missions = new OwnMissions();
    const mission = { missions, per: "run" as const, budgetUsd: 0.45 };
    const middleware = [governing({ mission, toolCosts: { search: 0.1 } }), ...retries];
    const agent = createAgent({ model: model(), tools: [counted("search")], middleware });
    for (let run = 1; run <= 2; run++) {
      const error = PolicyViolationError.find(await failure(agent.invoke(question)));
      expect(error?.ruleName).toBe("OwnMission");
      // 0.10 model + 0.10 tool + 0.10 model + 0.10 tool; the third call does not fit.
      expect(server.requests).toHaveLength(2 * run);
    }
    expect(missions.handles.size).toBe(2);
  });

  it("is exact: 30 parallel runs, each with its own $0.10, send one call each", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script(() => calls("search"));
    const mission = { missions: new OwnMissions(), per: "run" as const, budgetUsd: 0.1 };
    const agent = createAgent({ model: model(), tools: [counted("search")], middleware: [governing({ mission })] });
    const runs = await Promise.allSettled(Array.from({ length: 30 }, () => agent.invoke(question)));
    expect(runs.every(({ status }) => status === "rejected")).toBe(true);
    expect(server.requests).toHaveLength(30);
  }, 30_000);

  it("ends with the run: completed, or failed when it is refused", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    const missions = new OwnMissions();
    const agent = createAgent({
      model: model(),
      tools: [counted("search")],
      middleware: [governing({ mission: { missions, per: "run", budgetUsd: 0.1 } })],
    });
    server.script([words, calls("search")]);
    await agent.invoke(question);
    await failure(agent.invoke(question));
    expect(missions.ends.map(([, status]) => status)).toEqual(["completed", "failed"]);
  });
});

describe("a run that fails by itself", () => {
  it("ends its mission as failed", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    const missions = new OwnMissions();
    server.script({ status: 400 });
    const mission = { missions, per: "run" as const, budgetUsd: 1 };
    const agent = createAgent({ model: model(), tools: [], middleware: [governing({ mission })] });
    await failure(agent.invoke(question));
    expect(missions.ends.map(([, status]) => status)).toEqual(["failed"]);
  });
});

describe("a mission of each thread", () => {
  it("holds for all runs of the thread, also of agents made anew", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    const missions = new OwnMissions();
    const mission = { missions, per: "thread" as const, budgetUsd: 0.2 };
    const agent = () => createAgent({ model: model(), tools: [], middleware: [governing({ mission })] });
    const ask = (thread_id: string) => agent().invoke(question, { configurable: { thread_id } });
    await ask("a");
    await ask("a");
    expect(PolicyViolationError.isInstance(await failure(ask("a")))).toBe(true);
    await ask("b");
    expect(server.requests).toHaveLength(3);
    expect(missions.ends).toEqual([]);
  });

  it("is another one for a subagent in a tool, which has the same thread", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script(({ body }) =>
      (body.tools?.length ?? 0) > 0 && body.messages!.length < 3 ? calls("delegate") : words,
    );
    const missions = new OwnMissions();
    const mission = { missions, per: "thread" as const, budgetUsd: 5 };
    const child = createAgent({ model: model(), tools: [], middleware: [governing({ mission })] });
    const delegate = counted("delegate", async () => (await child.invoke(question)).messages.at(-1)!.text);
    const parent = createAgent({ model: model(), tools: [delegate], middleware: [governing({ mission })] });
    await parent.invoke(question, { configurable: { thread_id: "t" } });
    await parent.invoke(question, { configurable: { thread_id: "t" } });
    expect(missions.handles.size).toBe(2);
  });

  it("needs a thread", async () => {
    const { model, governing } = await setUpAgent({ rules });
    const mission = { missions: new OwnMissions(), per: "thread" as const, budgetUsd: 0.2 };
    const agent = createAgent({ model: model(), tools: [], middleware: [governing({ mission })] });
    expect(await failure(agent.invoke(question))).toMatchObject({ name: "ConfigError", field: "mission.per" });
  });
});

describe("a subagent in a tool", () => {
  /** An agent whose tool is an agent; both call the model as often as they are let. */
  async function nested(
    outer: (kit: Awaited<ReturnType<typeof setUpAgent>>) => object,
    inner: (kit: Awaited<ReturnType<typeof setUpAgent>>) => object,
    further: readonly never[] | typeof retries = [],
  ) {
    const kit = await setUpAgent({ rules });
    const { server, model, governing } = kit;
    server.script(({ body }) => ((body.tools?.length ?? 0) > 0 ? calls("delegate") : words));
    const child = createAgent({ name: "child", model: model(), tools: [], middleware: [governing(inner(kit))] });
    const delegate = counted("delegate", async () => (await child.invoke(question)).messages.at(-1)!.text);
    const middleware = [governing(outer(kit)), ...further];
    const parent = createAgent({ name: "parent", model: model(), tools: [delegate], middleware });
    return { ...kit, parent, delegate };
  }

  it("spends the mission of the agent around it, and its refusal stops that one too, whatever stands between", async () => {
    for (const further of [[], retries]) {
      const missions = new OwnMissions();
      const { parent, server } = await nested(
        () => ({ mission: { missions, per: "run", budgetUsd: 0.35 } }),
        () => ({}),
        further,
      );
      const error = PolicyViolationError.find(await failure(parent.invoke(question)));
      expect(error?.ruleName).toBe("OwnMission");
      // parent, child, parent; the second call of the child does not fit.
      expect(server.requests).toHaveLength(3);
      expect(missions.handles.size).toBe(1);
    }
  });

  it("is stopped by a policy, and the agent around it too", async () => {
    const { parent, server, policy } = await nested(
      () => ({}),
      () => ({}),
      retries,
    );
    server.script(async ({ body }) => {
      if ((body.tools?.length ?? 0) === 0) return words;
      await policy.freeze({ by: "ada", reason: "night" });
      return calls("delegate");
    });
    const error = PolicyViolationError.find(await failure(parent.invoke(question)));
    expect(error).toBeDefined();
    expect(server.requests).toHaveLength(1);
  });

  it.each([
    ["mission", { mission: { missions: new OwnMissions(), per: "run", budgetUsd: 0.05 } }],
    ["limit", { runLimit: 0 }],
  ])("that used up its own %s does not stop the agent around it", async (_, inner) => {
    const { parent, server, delegate } = await nested(
      () => ({ toolCallLimits: [{ runLimit: 3 }] }),
      () => inner,
    );
    server.script(({ body }) => (body.messages!.length > 8 ? words : calls("delegate")));
    const { messages } = await parent.invoke(question);
    expect(messages.at(-1)!.text).toBe("done");
    expect(delegate.ran).toHaveBeenCalledTimes(3);
    expect(server.requests).toHaveLength(5);
  });

  it('with exitBehavior "end" answers, and the agent around it still stops', async () => {
    const missions = new OwnMissions();
    const { parent, server } = await nested(
      () => ({ mission: { missions, per: "run", budgetUsd: 0.35 }, exitBehavior: "end" }),
      () => ({ exitBehavior: "end" }),
    );
    const { messages } = await parent.invoke(question);
    expect(messages.at(-1)!.text).toContain("Blocked by OwnMission");
    expect(server.requests).toHaveLength(3);
  });
});

describe("a mission around an agent, made by the application", () => {
  it("reaches the agent's calls", async () => {
    const { model, governing, policy } = await setUpAgent({ rules, track: ["mission_id"] });
    const agent = createAgent({ model: model(), tools: [], middleware: [governing()] });
    const seen: unknown[] = [];
    policy.on("call-settled", ({ labels }) => void seen.push(labels["mission_id"]));
    const around = { mission: { id: "m" }, labels: { mission_id: "m" }, rules: [] };
    await withAmbient(around, () => agent.invoke(question));
    expect(seen).toEqual(["m"]);
  });
});

describe("a killed mission", () => {
  it("stops tools that are under way", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules });
    const missions = new OwnMissions();
    server.script([calls("slow", "costly"), words]);
    const slow = counted("slow", () => new Promise(() => {}));
    const agent = createAgent({
      model: model(),
      tools: [slow, counted("costly")],
      middleware: [governing({ mission: { missions, per: "run", budgetUsd: 0.2 }, toolCosts: { costly: 1 } })],
    });
    const error = await failure(agent.invoke(question));
    expect(PolicyViolationError.isInstance(error)).toBe(true);
    expect(server.requests).toHaveLength(1);
    expect(await spend(policy)).toEqual({ settled: 0.1, held: 0 });
  });
});

describe("labels", () => {
  it("name the agent and the node of every call, so that a mission can tell what each spent", async () => {
    const { server, model, governing, policy } = await setUpAgent({ rules });
    server.script([calls("search"), words]);
    const seen: unknown[] = [];
    policy.on("call-settled", ({ labels, model }) => {
      seen.push([model, labels["lc_agent_name"], labels["langgraph_node"], labels["user_id"], labels["team"]]);
    });
    const agent = createAgent({
      name: "researcher",
      model: model(),
      tools: [counted("search")],
      middleware: [governing({ toolCosts: { search: 0.01 }, labels: { team: "search" } })],
      checkpointer: new MemorySaver(),
    });
    await agent.invoke(question, { metadata: { user_id: "ada" }, configurable: { thread_id: "t" } });
    expect(seen).toEqual([
      ["gpt-4o", "researcher", "model_request", "ada", "search"],
      ["search", "researcher", "tools", "ada", "search"],
      ["gpt-4o", "researcher", "model_request", "ada", "search"],
    ]);
  });
});
