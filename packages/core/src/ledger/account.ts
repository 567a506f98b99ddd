import { USER_LABEL, type Labels } from "../domain/labels.js";
import type { Scope } from "../domain/claim.js";

/** Everybody's account. */
const WORKSPACE = "workspace";
/** Holds what operators changed: freezes and adjustments. */
export const CONTROL = "control";

/** The account a scope means for a call, or `undefined` when the call lacks the label. The only place keys are spelled. */
export function accountOf(scope: Scope, labels: Labels): string | undefined {
  if (scope === "workspace") return WORKSPACE;
  const label = scope === "user" ? USER_LABEL : scope.label;
  const value = (scope === "user" ? undefined : scope.value) ?? labels[label];
  return value === undefined ? undefined : labelAccount(label, value);
}

/** The account of one value of a label. No label can reach another's account: every segment is encoded. */
function labelAccount(label: string, value: string): string {
  return `label:${segment(label)}:${segment(value)}`;
}

const plain = /^[\w.@-]*$/;

/** A key segment without separators. `encodeURIComponent` throws on lone surrogates, so those are spelled by their code. */
function segment(text: string): string {
  if (plain.test(text)) return text;
  return text.replace(/[^\w.@-]/g, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
