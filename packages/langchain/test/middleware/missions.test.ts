import { MonthlyBudgetRule } from "@driftlock/core";
import { MissionBudgetExceededError, Missions } from "@driftlock/missions";
import { Command, MemorySaver } from "@langchain/langgraph";
import { createAgent, modelRetryMiddleware, toolRetryMiddleware } from "langchain";
import { describe, expect, it } from "vitest";
import { failure, spend } from "../harness.js";
import { calls, counted, question, setUpAgent, warnings, words } from "./kit.js";

const rules = [new MonthlyBudgetRule({ maxUsd: 1000 })];
const retries = [modelRetryMiddleware({ initialDelayMs: 0 }), toolRetryMiddleware({ initialDelayMs: 0 })];
const thread = { configurable: { thread_id: "t" } };

async function setUpMissions() {
  const price = (outputUsdPerMTok: number) => ({ inputUsdPerMTok: 0, outputUsdPerMTok });
  const overrides = { "gpt-4o": price(1000), "gpt-4o-mini": price(100) };
  const kit = await setUpAgent({ rules, prices: { overrides } });
  kit.server.script(() => calls("search"));
  return { ...kit, missions: new Missions({ policy: kit.policy }), search: counted("search") };
}

describe("the middleware with @driftlock/missions", () => {
  it("kills a run at its budget, by the mission's own error", async () => {
    const said = warnings("DRIFTLOCK_NO_SIGNAL");
    const { server, missions, model, governing, search } = await setUpMissions();
    const mission = { missions, per: "run" as const, name: "research", budgetUsd: 0.35 };
    const agent = createAgent({ model: model(), tools: [search], middleware: [governing({ mission }), ...retries] });
    const error = await failure(agent.invoke(question));
    // The middleware's own mission needs no signal passed on.
    expect(said()).toBe(0);
    expect(MissionBudgetExceededError.isInstance(error)).toBe(true);
    expect(server.requests).toHaveLength(3);
    const [row] = await missions.list();
    expect(row).toMatchObject({ name: "research", totalCostUsd: 0.3, calls: 3 });
  });

  it("is exact: 100 parallel runs on one thread's $1.00 send 10 calls", async () => {
    const { server, missions, policy, model, governing } = await setUpMissions();
    server.script(words);
    const mission = { missions, per: "thread" as const, name: "chat", budgetUsd: 1 };
    const agent = createAgent({ model: model(), tools: [], middleware: [governing({ mission })] });
    const runs = await Promise.allSettled(Array.from({ length: 100 }, () => agent.invoke(question, thread)));
    expect(runs.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
    expect(server.requests).toHaveLength(10);
    expect(await spend(policy)).toEqual({ settled: 1, held: 0 });
  }, 30_000);

  it("swaps the model of later calls and leaves the hard stop armed", async () => {
    const { server, missions, model, governing, search } = await setUpMissions();
    const mission = {
      missions,
      per: "run" as const,
      name: "research",
      budgetUsd: 0.35,
      onExceed: "downgrade" as const,
      downgradeTo: "gpt-4o-mini",
      interveneOn: "breach" as const,
    };
    const agent = createAgent({ model: model(), tools: [search], middleware: [governing({ mission })] });
    const error = await failure(agent.invoke(question, { recursionLimit: 100 }));
    expect(MissionBudgetExceededError.isInstance(error)).toBe(true);
    // Three of $0.10, five of $0.01.
    const models = server.requests.map(({ body }) => body.model);
    expect(models).toEqual([...Array(3).fill("gpt-4o"), ...Array(5).fill("gpt-4o-mini")]);
  });

  it("pauses, is raised on resume and goes on where it stopped; the raise is credited once", async () => {
    const { server, missions, model, governing, search } = await setUpMissions();
    const mission = {
      missions,
      per: "run" as const,
      name: "research",
      budgetUsd: 0.35,
      onExceed: "pause" as const,
      maxRaiseUsd: 0.5,
    };
    const checkpointer = new MemorySaver();
    const make = () =>
      createAgent({ model: model(), tools: [search], middleware: [governing({ mission }), ...retries], checkpointer });
    const paused = await make().invoke(question, thread);
    expect(paused).toHaveProperty("__interrupt__");
    expect(server.requests).toHaveLength(3);
    const [row] = await missions.list();
    expect(row).toMatchObject({ status: "paused" });
    // Another process, and more than may be raised: asked again.
    const again = await make().invoke(new Command({ resume: { addUsd: 5, by: "ada" } }), thread);
    expect(JSON.stringify(again)).toContain("maxRaiseUsd");
    expect(server.requests).toHaveLength(3);
    await make().invoke(new Command({ resume: { addUsd: 0.2, by: "ada" } }), thread);
    expect(server.requests).toHaveLength(5);
    expect((await missions.get(row!.id))!.budget).toBeCloseTo(0.55, 9);
  });

  it("waits for a person too where what is left is too little for one call alone", async () => {
    const { server, missions, model, governing, search } = await setUpMissions();
    server.script([calls("search"), words]);
    const mission = { missions, per: "run" as const, name: "research", budgetUsd: 0.35, onExceed: "pause" as const };
    const agent = createAgent({
      model: model(),
      tools: [search],
      middleware: [governing({ mission, toolCosts: { search: 0.3 } })],
      checkpointer: new MemorySaver(),
    });
    expect(await agent.invoke(question, thread)).toHaveProperty("__interrupt__");
    expect(search.ran).not.toHaveBeenCalled();
    const { messages } = await agent.invoke(new Command({ resume: { addUsd: 0.2, by: "ada" } }), thread);
    expect(messages.map(({ text }) => text)).toEqual(["Hi", "", "found", "done"]);
  });

  it("stops a run that is killed from outside, with its subagents", async () => {
    const { server, missions, model, governing } = await setUpMissions();
    const mission = { missions, per: "run" as const, name: "research", budgetUsd: 100 };
    const child = createAgent({ name: "child", model: model(), tools: [], middleware: [governing()] });
    const delegate = counted("search", async () => {
      const [row] = await missions.list();
      await missions.kill(row!.id, { by: "ada", reason: "enough" });
      return (await child.invoke(question)).messages.at(-1)!.text;
    });
    const agent = createAgent({ model: model(), tools: [delegate], middleware: [governing({ mission }), ...retries] });
    const error = await failure(agent.invoke(question));
    expect(MissionBudgetExceededError.find(error)).toMatchObject({ action: "kill" });
    expect(server.requests).toHaveLength(1);
  });

  it("asks nobody to let a killed run go on", async () => {
    const { missions, model, governing, search } = await setUpMissions();
    const mission = { missions, per: "run" as const, name: "research", budgetUsd: 0.35 };
    const agent = createAgent({
      model: model(),
      tools: [search],
      middleware: [governing({ mission, exitBehavior: "interrupt" })],
      checkpointer: new MemorySaver(),
    });
    expect(await failure(agent.invoke(question, thread))).toMatchObject({ action: "kill" });
  });

  it("pauses in a subagent for the mission of the agent around it, and raises that one", async () => {
    const { server, missions, model, governing } = await setUpMissions();
    server.script(({ body }) => ((body.tools?.length ?? 0) > 0 && body.messages!.length < 3 ? calls("search") : words));
    const child = createAgent({ name: "child", model: model(), tools: [], middleware: [governing()] });
    const delegate = counted("search", async () => (await child.invoke(question)).messages.at(-1)!.text);
    const mission = { missions, per: "run" as const, name: "research", budgetUsd: 0.15, onExceed: "pause" as const };
    const agent = createAgent({
      model: model(),
      tools: [delegate],
      middleware: [governing({ mission }), ...retries],
      checkpointer: new MemorySaver(),
    });
    const paused = await agent.invoke(question, thread);
    expect(JSON.stringify(paused)).toContain("raise_budget");
    expect(server.requests).toHaveLength(1);
    const { messages } = await agent.invoke(new Command({ resume: { addUsd: 1, by: "ada" } }), thread);
    expect(messages.map(({ text }) => text)).toEqual(["Hi", "", "done", "done"]);
    const [row] = await missions.list();
    expect(row!.budgetUsd).toBeCloseTo(1.15, 9);
  });

  it("records what each agent and node spent, tools too", async () => {
    const { server, missions, model, governing, search } = await setUpMissions();
    server.script([calls("search"), words]);
    const mission = { missions, per: "run" as const, name: "research", budgetUsd: 1 };
    const agent = createAgent({
      name: "researcher",
      model: model(),
      tools: [search],
      middleware: [governing({ mission, toolCosts: { search: 0.01 } })],
    });
    await agent.invoke(question);
    const [row] = await missions.list();
    expect(row).toMatchObject({ status: "completed", calls: 3, totalCostUsd: 0.21 });
    const stats = await missions.stats(row!.id);
    expect(JSON.stringify(stats)).toContain("researcher");
    expect(JSON.stringify(stats)).toContain("model_request");
  });

  it("obeys a mission of the application around it, and warns when its signal is not passed on", async () => {
    const said = warnings("DRIFTLOCK_NO_SIGNAL");
    const { server, missions, model, governing, search } = await setUpMissions();
    const agent = createAgent({ model: model(), tools: [search], middleware: [governing(), ...retries] });
    const budget = { name: "outer", budgetUsd: 0.25 };
    const passed = await failure(missions.run(budget, (m) => agent.invoke(question, { signal: m.signal })));
    expect(said()).toBe(0);
    const forgotten = await failure(missions.run(budget, () => agent.invoke(question)));
    expect(said()).toBe(1);
    expect(MissionBudgetExceededError.find(forgotten)).toBeDefined();
    expect(passed).toBeInstanceOf(Error);
    expect(server.requests).toHaveLength(4);
  });
});
