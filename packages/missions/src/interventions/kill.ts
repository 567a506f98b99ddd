import { notes } from "../state.js";
import type { InterventionStep } from "./intervention.js";

/** No call goes any more, in any process, whatever comes later. */
export const kill: InterventionStep = {
  begin: ({ isKilled }) => (isKilled ? undefined : { patch: { notes: { [notes.killed]: "1" } }, onceId: "kill" }),
  judge: ({ state, refuse }) => {
    if (!state.isKilled) return undefined;
    const last = state.interventions.findLast(({ action }) => action === "kill");
    return refuse("kill", last === undefined ? "it was killed" : `it was killed: ${last.reason}`);
  },
};
