import type { Claim, Scope, Window } from "@driftlock/core";

/** The accounts of a mission in the ledger, as scopes of claims. */

const lifetime: Window = { kind: "lifetime" };

/** The label every call of a mission carries, and the mission's own account: its state, limit and totals. */
export const MISSION_LABEL = "mission_id";

/** State, limit and totals, calls of nested missions included. */
export function missionScope(id: string): Scope {
  return { label: MISSION_LABEL, value: id };
}

/** What a mission's own calls cost, without nested ones. */
export function directClaim(id: string): Claim {
  return usd({ label: "mission_direct", value: id }, Infinity);
}

/** What raises have added: a raise claims it first, so that the bound holds in all processes together. */
export function raisedClaim(id: string, maxUsd: number): Claim {
  return usd({ label: "mission_raised", value: id }, maxUsd);
}

/** What the processes of a mission know of its calls. */
export function journalScope(id: string): Scope {
  return { label: "mission_journal", value: id };
}

/** How long the last missions of a name were. */
export function nameScope(name: string): Scope {
  return { label: "mission_name", value: name };
}

/** A page of the list of all missions; "head" says which is the last. */
export function listScope(page: string): Scope {
  return { label: "mission_list", value: page };
}

export function usd(scope: Scope, limit: number | "stored"): Claim {
  return { scope, measure: "usd", window: lifetime, limit };
}

export function calls(scope: Scope, limit: number): Claim {
  return { scope, measure: "calls", window: lifetime, limit };
}

export function tokens(scope: Scope, limit: number): Claim {
  return { scope, measure: "tokens", window: lifetime, limit };
}

export function inFlight(scope: Scope, limit: number): Claim {
  return { scope, measure: "in-flight", window: lifetime, limit };
}
