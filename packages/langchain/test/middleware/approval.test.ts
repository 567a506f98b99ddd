import { MonthlyBudgetRule, PolicyViolationError } from "@driftlock/core";
import { Command, MemorySaver } from "@langchain/langgraph";
import { createAgent, modelRetryMiddleware, toolRetryMiddleware, type HITLRequest } from "langchain";
import { describe, expect, it } from "vitest";
import { failure } from "../harness.js";
import { calls, counted, question, setUpAgent, warnings, words } from "./kit.js";
import { OwnMissions } from "./own-missions.js";

const rules = [new MonthlyBudgetRule({ maxUsd: 100 })];
const retries = [modelRetryMiddleware({ initialDelayMs: 0 }), toolRetryMiddleware({ initialDelayMs: 0 })];
const thread = { configurable: { thread_id: "t" } };

/** An agent that asks its tool for ever, with a mission of $0.35 a run that pauses: three model calls. */
async function pausing(options: object = {}) {
  const kit = await setUpAgent({ rules });
  kit.server.script(({ body }) => (body.messages!.length > 12 ? words : calls("search")));
  const missions = new OwnMissions();
  const checkpointer = new MemorySaver();
  const search = counted("search");
  const make = (more: object = {}) =>
    createAgent({
      model: kit.model(),
      tools: [search],
      middleware: [
        kit.governing({
          mission: { missions, per: "run", budgetUsd: 0.35, onExceed: "pause" } as never,
          ...options,
          ...more,
        }),
        ...retries,
      ],
      checkpointer,
    });
  return { ...kit, missions, search, make, agent: make() };
}

/** What a run waits for. */
function asked(result: unknown): HITLRequest {
  const { __interrupt__: interrupts } = result as { __interrupt__?: [{ value: HITLRequest }] };
  return interrupts![0].value;
}

describe("a mission that pauses", () => {
  it("interrupts the run, in the words of LangChain's own approvals", async () => {
    const { agent, server, missions } = await pausing();
    const request = asked(await agent.invoke(question, thread));
    const [id] = missions.handles.keys();
    expect(request.actionRequests).toMatchObject([
      { name: "raise_budget", args: { missionId: id }, description: expect.stringContaining("Blocked by OwnMission") },
    ]);
    expect(request.reviewConfigs).toMatchObject([
      { actionName: "raise_budget", allowedDecisions: ["edit", "reject"], argsSchema: { required: ["addUsd", "by"] } },
    ]);
    expect(server.requests).toHaveLength(3);
  });

  it("goes on where it stopped after a raise, which is credited once however often the node runs", async () => {
    const { agent, server, missions, search } = await pausing();
    await agent.invoke(question, thread);
    const resume = {
      decisions: [{ type: "edit", editedAction: { name: "raise_budget", args: { addUsd: 0.2, by: "ada" } } }],
    };
    asked(await agent.invoke(new Command({ resume }), thread));
    // Five in all: $0.35 + $0.20.
    expect(server.requests).toHaveLength(5);
    asked(await agent.invoke(new Command({ resume: { addUsd: 0.1, by: "bob" } }), thread));
    expect(server.requests).toHaveLength(6);
    expect(search.ran).toHaveBeenCalledTimes(6);
    const [mission] = missions.handles.values();
    expect(mission!.budgetUsd).toBeCloseTo(0.65, 9);
    expect(new Set(missions.raises.map(({ approvalId }) => approvalId)).size).toBe(2);
    expect(missions.raises.map(({ by }) => by)).toEqual(["ada", "bob"]);
  });

  it("is credited once when the process dies between the raise and the next step", async () => {
    const { agent, server, missions } = await pausing();
    await agent.invoke(question, thread);
    const raise = missions.raise.bind(missions);
    missions.raise = async (id, by) => {
      await raise(id, by);
      missions.raise = raise;
      throw new Error("gone");
    };
    const resume = { addUsd: 0.2, by: "ada" };
    expect(await failure(agent.invoke(new Command({ resume }), thread))).toMatchObject({ message: "gone" });
    asked(await agent.invoke(null as never, thread));
    expect(missions.raises).toHaveLength(2);
    const [mission] = missions.handles.values();
    expect(mission!.budgetUsd).toBeCloseTo(0.55, 9);
    expect(server.requests).toHaveLength(5);
  });

  it("goes on in another process, with the same mission", async () => {
    const { make, server, missions } = await pausing();
    await make().invoke(question, thread);
    await make().invoke(new Command({ resume: { addUsd: 1, by: "ada" } }), thread);
    expect(server.requests).toHaveLength(7);
    expect(missions.handles.size).toBe(1);
    expect(missions.ends).toHaveLength(1);
  });

  it.each([
    ["nothing", true],
    ["no amount", { by: "ada" }],
    ["a negative amount", { addUsd: -5, by: "ada" }],
    ["NaN", { addUsd: Number.NaN, by: "ada" }],
    ["an amount as text", { addUsd: "5", by: "ada" }],
    ["nobody", { addUsd: 1, by: " " }],
    ["an approval without an amount", { decisions: [{ type: "approve" }] }],
    ["two decisions", { decisions: [{ type: "reject" }, { type: "reject" }] }],
  ])("asks again when the answer is %s, and is not locked by it", async (_, resume) => {
    const { agent, server, missions } = await pausing();
    await agent.invoke(question, thread);
    const again = asked(await agent.invoke(new Command({ resume }), thread));
    expect(again.actionRequests[0]!.description).toContain("The last answer was not used: ");
    expect(missions.raises).toEqual([]);
    expect(server.requests).toHaveLength(3);
    await agent.invoke(new Command({ resume: { addUsd: 1, by: "ada" } }), thread);
    expect(server.requests).toHaveLength(7);
    const [mission] = missions.handles.values();
    expect(mission!.budgetUsd).toBeCloseTo(1.35, 9);
  });

  it("ends with the words of who rejects", async () => {
    const { agent, server } = await pausing();
    await agent.invoke(question, thread);
    const resume = { decisions: [{ type: "reject", message: "Too dear." }] };
    const { messages } = await agent.invoke(new Command({ resume }), thread);
    expect(messages.at(-1)!.text).toBe("Too dear.");
    expect(server.requests).toHaveLength(3);
  });

  it("is an error without a checkpointer, and the warning says so once", async () => {
    const said = warnings("DRIFTLOCK_NO_CHECKPOINTER");
    const { model, governing } = await setUpAgent({ rules });
    const mission = { missions: new OwnMissions(), per: "run" as const, budgetUsd: 0, onExceed: "pause" as const };
    const agent = createAgent({ model: model(), tools: [], middleware: [governing({ mission } as never)] });
    for (let run = 0; run < 2; run++)
      expect(PolicyViolationError.isInstance(await failure(agent.invoke(question)))).toBe(true);
    expect(said()).toBe(1);
  });

  it("is an error, or an end, where exitBehavior says so", async () => {
    const strict = await pausing({ exitBehavior: "error" });
    expect(PolicyViolationError.isInstance(await failure(strict.agent.invoke(question, thread)))).toBe(true);
    const kind = await pausing({ exitBehavior: "end" });
    expect((await kind.agent.invoke(question, thread)).messages.at(-1)!.text).toContain("Blocked by OwnMission");
  });

  it("found paused before a call interrupts before the model is called", async () => {
    const { agent, server, missions, search } = await pausing({ toolCosts: { search: 0.5 } });
    const request = asked(await agent.invoke(question, thread));
    expect(request.actionRequests[0]!.name).toBe("raise_budget");
    expect(search.ran).not.toHaveBeenCalled();
    // The tool that was refused runs, and the run goes on after it.
    await agent.invoke(new Command({ resume: { addUsd: 0.4, by: "ada" } }), thread);
    expect(search.ran).toHaveBeenCalledTimes(1);
    expect(server.requests).toHaveLength(2);
    expect(missions.raises).toHaveLength(1);
  });
});

describe("a subagent in a tool that pauses", () => {
  it("interrupts the whole graph, and goes on in the tool after the raise", async () => {
    const { server, model, governing } = await setUpAgent({ rules });
    server.script(({ body }) => {
      const names = (body.tools as { function: { name: string } }[]).map((made) => made.function.name);
      if (body.messages!.length > 6) return words;
      return names[0] === "delegate" && body.messages!.length > 2 ? words : calls(names[0]!);
    });
    const missions = new OwnMissions();
    const mission = { missions, per: "run" as const, budgetUsd: 0.25, onExceed: "pause" as const };
    const search = counted("search");
    const child = createAgent({ name: "child", model: model(), tools: [search], middleware: [governing({ mission })] });
    const delegate = counted("delegate", async () => (await child.invoke(question)).messages.at(-1)!.text);
    const parent = createAgent({
      name: "parent",
      model: model(),
      tools: [delegate],
      middleware: [
        governing({ toolCosts: { delegate: 0.01 } }),
        toolRetryMiddleware({ initialDelayMs: 0, retryOn: () => true }),
      ],
      checkpointer: new MemorySaver(),
    });
    expect(asked(await parent.invoke(question, thread)).actionRequests[0]!.name).toBe("raise_budget");
    expect(server.requests).toHaveLength(3);
    const { messages } = await parent.invoke(new Command({ resume: { addUsd: 1, by: "ada" } }), thread);
    expect(messages.map(({ text }) => text)).toEqual(["Hi", "", "done", "done"]);
    expect(missions.raises).toHaveLength(1);
    expect(missions.handles.size).toBe(1);
  });
});

describe('exitBehavior "interrupt"', () => {
  it("waits for a person at any refusal, who makes room elsewhere and lets it be tried again", async () => {
    const { server, policy, model, governing } = await setUpAgent({ rules: [new MonthlyBudgetRule({ maxUsd: 0 })] });
    const agent = createAgent({
      model: model(),
      tools: [],
      middleware: [governing({ exitBehavior: "interrupt" })],
      checkpointer: new MemorySaver(),
    });
    const request = asked(await agent.invoke(question, thread));
    expect(request.reviewConfigs[0]!.allowedDecisions).toEqual(["approve", "reject"]);
    asked(await agent.invoke(new Command({ resume: { decisions: [{ type: "approve" }] } }), thread));
    expect(server.requests).toEqual([]);
    await policy.adjust("MonthlyBudgetRule", { addUsd: 1, by: "ada", reason: "more" });
    const { messages } = await agent.invoke(new Command({ resume: { decisions: [{ type: "approve" }] } }), thread);
    expect(messages.map(({ type }) => type)).toEqual(["human", "ai"]);
    expect(server.requests).toHaveLength(1);
  });
});
