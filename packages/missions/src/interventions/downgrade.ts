import { RuleDecision } from "@driftlock/core";
import { notes } from "../state.js";
import type { InterventionStep } from "./intervention.js";

/** All later calls go to a cheaper model, under the same budget: the hard stop stays armed. */
export const downgrade: InterventionStep = {
  begin: ({ rung, terms: { ladder } }) =>
    rung >= ladder.length
      ? undefined
      : { patch: { notes: { [notes.rung]: String(rung + 1) } }, onceId: `rung ${rung + 1}` },
  judge: ({ state: { rung, terms }, context: { model }, claims }) => {
    const target = terms.ladder[rung - 1];
    // A call that asks for this rung's model, or for one further down, has it.
    if (target === undefined || terms.ladder.indexOf(model) >= rung - 1) return undefined;
    return RuleDecision.downgrade(target).claim(...claims);
  },
};
