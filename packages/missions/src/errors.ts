import { PolicyViolationError, type ViolationDetails } from "@driftlock/core";

/** What a refused call meets: the end of the mission, a pause, the last call only, or too little for this call alone. */
export type RefusalAction = "kill" | "pause" | "wrapUp" | "callback" | "block";

/** A mission refused the call: nothing was sent, nothing is held. */
export class MissionBudgetExceededError extends PolicyViolationError {
  static override readonly kind: string = "MissionBudgetExceededError";
  override readonly code = "MISSION_BUDGET_EXCEEDED";
  readonly missionId: string;
  /** USD, at the moment of the refusal. */
  readonly spentUsd: number;
  readonly budgetUsd: number;
  readonly callCount: number;
  /** "kill": no call of the mission goes any more. "pause": after a `raise`. "wrapUp": one without tools. "block": a smaller one. */
  readonly action: RefusalAction;

  constructor(details: ViolationDetails) {
    super({ ...details, message: details.message ?? messageOf(details) });
    const { missionId, spentUsd, budgetUsd, callCount, action } = details.decision.metadata as unknown as Refused;
    this.missionId = missionId;
    this.spentUsd = spentUsd;
    this.budgetUsd = budgetUsd;
    this.callCount = callCount;
    this.action = action;
  }
}

/** The metadata of a mission's block. */
export interface Refused {
  readonly missionId: string;
  readonly name: string;
  readonly action: RefusalAction;
  readonly reason: string;
  readonly spentUsd: number;
  readonly heldUsd: number;
  readonly budgetUsd: number;
  readonly callCount: number;
}

const advice: Readonly<Record<RefusalAction, string>> = {
  kill: "It stays killed in every process; start a new mission to go on.",
  pause: "missions.raise(id, { addUsd, by, approvalId }) lets it go on where it stopped.",
  wrapUp: "One last call without tools may still go.",
  callback: "Its callback is being asked.",
  block: "A smaller call may still fit.",
};

function messageOf({ decision, needs }: ViolationDetails): string {
  const { name, missionId, reason, spentUsd, heldUsd, budgetUsd, callCount, action } =
    decision.metadata as unknown as Refused;
  const usd = (amount: number) => `$${Number(amount.toPrecision(6))}`;
  const held = heldUsd > 0 ? `, ${usd(heldUsd)} held` : "";
  const need = needs === undefined ? "" : ` The call needs ${needs}.`;
  return (
    `Blocked by the mission ${JSON.stringify(name)} (${missionId}): ${reason}. ${usd(spentUsd)} of ${usd(budgetUsd)} spent${held}, ` +
    `${callCount} calls.${need} ${advice[action]}`
  );
}
