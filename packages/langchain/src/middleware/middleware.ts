import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, RemoveMessage, type BaseMessage } from "@langchain/core/messages";
import type { ClientTool, ServerTool } from "@langchain/core/tools";
import { createMiddleware, type AgentMiddleware } from "langchain";
import { z } from "zod/v4";
import type { AgentRun } from "./agent-run.js";
import { Governance } from "./governance.js";
import type { HookRuntime } from "./host.js";
import type { MissionIdentity } from "./mission.js";
import { callModel } from "./model-call.js";
import { checkOptions, type DriftlockMiddlewareOptions } from "./options.js";
import { readRefusal, refusalMessage, refusedOf, refusedTools } from "./refusal-message.js";
import { callTool } from "./tool-call.js";
import { costOfTool } from "./tool-execution.js";

/**
 * Keeps an agent of `createAgent` inside its budget: each model call asks the policy and the mission, and what is refused
 * stops the run, also through retries, fallbacks and subagents. Put it first.
 *
 * ```ts
 * const agent = createAgent({ model, tools, middleware: [driftlockMiddleware({ policy })] });
 * ```
 *
 * @throws ConfigError naming the option and its value.
 */
export function driftlockMiddleware<Mission extends MissionIdentity = MissionIdentity>(
  options: DriftlockMiddlewareOptions<Mission>,
): AgentMiddleware<undefined, undefined, unknown, readonly (ClientTool | ServerTool)[], readonly []> {
  checkOptions(options);
  const name = options.id === undefined ? "DriftlockMiddleware" : `DriftlockMiddleware[${options.id}]`;
  const governance = new Governance(options, name);
  const { exit } = governance;
  // Which run it is; what the run has spent is in the ledger. Private to the graph: LangChain hides what begins with "_".
  const key = `_${name}` as "_run";
  const enter = async (state: { _run?: string | undefined }, runtime: HookRuntime): Promise<AgentRun> => {
    const id = state[key] ?? crypto.randomUUID();
    return (await governance.run(id, runtime)).entered();
  };

  /** A run that has been stopped, or whose mission waits, before the model is called: ends it, or answers nothing. */
  const gate = async (run: AgentRun, runtime: HookRuntime) => {
    const { refusal } = run;
    const refused = refusal === undefined ? run.pause : refusedOf(refusal, run);
    if (refused === undefined) return undefined;
    const behavior = exit.behavior(refused, runtime);
    let { message } = refused;
    if (behavior === "interrupt") {
      const outcome = await exit.ask(run, refused, runtime);
      if (outcome.goesOn) return undefined;
      ({ message } = outcome);
      // Paused elsewhere: the call itself will be refused, by the mission's own error.
    } else if (refusal === undefined) return undefined;
    else if (behavior === "error") throw await governance.thrown(run, refusal, runtime);
    await governance.end(run);
    return { messages: [new AIMessage(message)], jumpTo: "end" as const };
  };

  const middleware = createMiddleware({
    name,
    stateSchema: z.object({ [key]: z.string().optional() } as { _run: z.ZodOptional<z.ZodString> }),

    async beforeAgent(state, runtime) {
      const id = crypto.randomUUID();
      await governance.run(id, runtime as HookRuntime);
      governance.checkCheckpointer(runtime as HookRuntime);
      // Refusals that an earlier run of the thread was left with. Those of tools answer a call, and stay.
      const stale = state.messages.filter(
        (message) => AIMessage.isInstance(message) && readRefusal(message) !== undefined,
      );
      return {
        [key]: id,
        ...(stale.length > 0 && { messages: stale.map(({ id }) => new RemoveMessage({ id: id! })) }),
      };
    },

    beforeModel: {
      canJumpTo: ["end", "tools"],
      async hook(state, runtime) {
        const run = await enter(state, runtime as HookRuntime);
        const ended = await gate(run, runtime as HookRuntime);
        const again = refusedTools(state.messages);
        if (ended !== undefined || again.length === 0) return ended;
        // The run goes on where it was refused: at these tools.
        return { messages: again.map(({ id }) => new RemoveMessage({ id: id! })), jumpTo: "tools" as const };
      },
    },

    async wrapModelCall(request, handler) {
      const runtime = request.runtime as HookRuntime;
      const run = await enter(request.state, runtime);
      governance.checkOrder(runtime, request.modelSettings);
      const model = governance.governed(request.model as BaseChatModel);
      const call = async () => handler({ ...request, model });
      const rules = governance.modelRules(run, runtime);
      const called = await callModel(run, rules, governance.handler, call).catch(async (error: unknown) => {
        throw await governance.failed(run, error, runtime);
      });
      if ("answer" in called) return called.answer;
      const { refusal } = called;
      governance.checkSignal(run, refusal, runtime);
      const refused = refusedOf(refusal, run);
      return exit.behavior(refused, runtime) === "end" ? new AIMessage(refused.message) : refusalMessage(refused);
    },

    afterModel: {
      canJumpTo: ["model", "end"],
      async hook(state, runtime) {
        const last = (state.messages as BaseMessage[]).at(-1);
        const refused = readRefusal(last);
        if (last === undefined || refused === undefined) return undefined;
        const run = await enter(state, runtime as HookRuntime);
        const behavior = exit.behavior(refused, runtime as HookRuntime);
        if (behavior === "interrupt") {
          const outcome = await exit.ask(run, refused, runtime as HookRuntime);
          if (!outcome.goesOn) return { messages: [new AIMessage({ id: last.id!, content: outcome.message })] };
        } else if (run.refusal !== undefined) throw await governance.thrown(run, run.refusal, runtime as HookRuntime);
        // Settled, or a resumed thread: the call is judged anew.
        return { messages: [new RemoveMessage({ id: last.id! })], jumpTo: "model" as const };
      },
    },

    async wrapToolCall(request, handler) {
      const runtime = request.runtime as HookRuntime;
      const { toolCall: call, tool } = request;
      const run = await enter(request.state, runtime);
      const governed = {
        policy: options.policy,
        handler: governance.handler,
        run,
        call,
        labels: governance.labels(),
        costUsd: costOfTool(options.toolCosts, call),
        rules: governance.toolRules(call.name, run, runtime),
        signal: runtime.signal,
      };
      const send = (instead: object | undefined) =>
        handler(instead === undefined ? request : { ...request, tool: instead as typeof tool });
      return callTool(governed, { tool, run: send }, options.onFailure);
    },

    async afterAgent(state, runtime) {
      await governance.end(await enter(state, runtime as HookRuntime));
    },
  });
  return middleware as unknown as ReturnType<typeof driftlockMiddleware>;
}
