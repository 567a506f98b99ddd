import type { AccountPatch, Claim, Context, Maybe, RuleDecision } from "@driftlock/core";
import type { RefusalAction } from "../errors.js";
import type { MissionState } from "../state.js";

/** What an intervention sees of the call it judges. */
export interface Judged {
  readonly id: string;
  readonly state: MissionState;
  readonly context: Context;
  /** The claims of a call that goes. */
  readonly claims: readonly Claim[];
  /** The block of this call. */
  readonly refuse: (action: RefusalAction, reason: string) => RuleDecision;
  /** The state was just read from the ledger. */
  readonly isFresh: boolean;
  /** Reads the state and judges the call by it. */
  readonly again: () => Maybe<RuleDecision>;
  /** Waits until the mission's state has changed. */
  readonly changed: (signal: AbortSignal | undefined) => Promise<unknown>;
}

/** One thing a mission does about its budget. The state says what has begun; every process judges its calls by it. */
export interface InterventionStep {
  /** The change that begins it, and a name under which the change is made once; undefined when nothing is left to begin. */
  begin(state: MissionState): { readonly patch: AccountPatch; readonly onceId: string } | undefined;
  /** What it means for a call, once begun; undefined: nothing. */
  judge(call: Judged): Maybe<RuleDecision> | undefined;
}
