import { ConfigError, PolicyViolationError } from "@driftlock/core";
import type { AgentRun } from "./agent-run.js";
import { approvalId, approvalRequest, readDecision, type Refused } from "./approval.js";
import { canInterrupt, type HookRuntime } from "./host.js";
import type { ExitBehavior } from "./options.js";

/** How a person's decision ends. */
export type Outcome = { readonly goesOn: true } | { readonly goesOn: false; readonly message: string };

/** How a refused run of an agent ends. */
export class Exit {
  readonly #exitBehavior: ExitBehavior | undefined;

  constructor(exitBehavior: ExitBehavior | undefined) {
    this.#exitBehavior = exitBehavior;
  }

  /** What happens to a run that was refused. Without a checkpointer nothing can be interrupted. */
  behavior({ missionId, isFinal = false }: Refused, runtime: HookRuntime): ExitBehavior {
    const exitBehavior = this.#exitBehavior ?? (missionId === undefined ? "error" : "interrupt");
    if (exitBehavior !== "interrupt") return exitBehavior;
    return isFinal || !canInterrupt(runtime) ? "error" : "interrupt";
  }

  /**
   * Waits for a person, in a node that runs again from its top when there is an answer: nothing before this call may have an
   * effect, and the raise is credited once, by its approval. An answer that cannot be used is asked for again, because one
   * that is thrown about would be read again by every later resume.
   */
  async ask(run: AgentRun, refused: Refused, runtime: HookRuntime): Promise<Outcome> {
    const raise = refused.missionId === undefined ? undefined : run.raiseOf(refused.missionId);
    // A mission that the middleware cannot raise is raised by the person, elsewhere.
    const asked = raise === undefined ? { message: refused.message } : refused;
    let problem: string | undefined;
    for (let nth = 0; ; nth++) {
      // Throws what LangGraph stops the graph with, until there is an answer.
      const decision = readDecision(runtime.interrupt!(approvalRequest(asked, problem)), asked);
      if (decision.kind === "reject")
        return { goesOn: false, message: decision.message ?? `${refused.message} It was rejected.` };
      if (decision.kind === "invalid") {
        problem = decision.problem;
        continue;
      }
      if (decision.kind === "raise" && raise !== undefined && asked.missionId !== undefined) {
        const { addUsd, by } = decision;
        const id = approvalId(runtime.configurable ?? {}, nth);
        const error = await raise(asked.missionId, { addUsd, by, approvalId: id }).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        // The mission does not take this raise: above its maximum, for instance.
        problem = (ConfigError.find(error) ?? PolicyViolationError.find(error))?.message;
        if (problem !== undefined) continue;
        if (error !== undefined) throw error;
      }
      run.goOn();
      return { goesOn: true };
    }
  }
}
