import { RuleDecision, type Context } from "@driftlock/core";
import { inFlight, missionScope } from "../accounts.js";
import { notes } from "../state.js";
import type { InterventionStep } from "./intervention.js";

/** One last call, without tools, on money that was kept back from the beginning. */
export const wrapUp: InterventionStep = {
  begin: ({ wrapUp: phase, terms: { reserve } }) =>
    phase === undefined
      ? { patch: { addLimit: reserve, notes: { [notes.wrapUp]: "last" } }, onceId: "wrapUp" }
      : undefined,
  judge: ({ id, state: { wrapUp: phase }, context, claims, refuse }) => {
    if (phase === undefined) return undefined;
    if (phase === "done") return refuse("kill", "its last call was made");
    if (hasTools(context)) return refuse("wrapUp", "only one last call without tools may go");
    // One at a time: parallel branches that all want to be the last find the place taken.
    return RuleDecision.claim(...claims, inFlight(missionScope(id), 1));
  },
};

function hasTools({ tools, params }: Context): boolean {
  const listed = [tools, params["tools"], params["functions"]];
  return listed.some((list) => Array.isArray(list) && list.length > 0);
}
