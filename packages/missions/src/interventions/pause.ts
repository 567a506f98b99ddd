import { notes } from "../state.js";
import type { InterventionStep } from "./intervention.js";

/** Calls stop where they are until a raise. Once for each limit: a raise makes another one. */
export const pause: InterventionStep = {
  begin: ({ isPaused, limit }) =>
    isPaused ? undefined : { patch: { notes: { [notes.paused]: "1" } }, onceId: `pause ${limit}` },
  judge: ({ state, isFresh, refuse, again, changed }) => {
    if (!state.isPaused) return undefined;
    // Another process may have raised it: a paused mission has the time to look.
    if (!isFresh) return again();
    const last = state.interventions.findLast(({ action }) => action === "pause");
    const paused = refuse("pause", last === undefined ? "it is paused" : `it is paused: ${last.reason}`);
    return state.terms.onPause === "wait" ? paused.waiting(changed) : paused;
  },
};
