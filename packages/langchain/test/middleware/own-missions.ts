import { PolicyViolationError, RuleDecision, type Rule, type ViolationDetails } from "@driftlock/core";
import type { MissionControl, MissionHandle, MissionIdentity, MissionRaise } from "@driftlock/langchain/middleware";

interface OwnOptions extends MissionIdentity {
  readonly budgetUsd: number;
  readonly onExceed?: "kill" | "pause";
}

class OwnExceeded extends PolicyViolationError {
  constructor(
    details: ViolationDetails,
    readonly missionId: string,
    readonly action: string,
  ) {
    super(details);
  }
}

/** The least that the middleware works with: one rule a mission, its budget and its end kept in this object. */
export class OwnMissions implements MissionControl<OwnOptions> {
  readonly handles = new Map<string, OwnMission>();
  readonly raises: MissionRaise[] = [];
  readonly ends: (readonly [string, string | undefined])[] = [];

  async start({ missionId = crypto.randomUUID(), ifExists, budgetUsd, onExceed }: OwnOptions): Promise<OwnMission> {
    const known = this.handles.get(missionId);
    if (known !== undefined && ifExists !== "attach") throw new Error("exists");
    const mission = known ?? new OwnMission(this, missionId, budgetUsd, onExceed ?? "kill");
    this.handles.set(missionId, mission);
    return mission;
  }

  async raise(id: string, raise: MissionRaise): Promise<void> {
    const isNew = this.raises.every(({ approvalId }) => approvalId !== raise.approvalId);
    this.raises.push(raise);
    if (isNew) this.handles.get(id)!.add(raise.addUsd);
  }
}

export class OwnMission implements MissionHandle {
  status = "running";
  readonly #abort = new AbortController();
  readonly signal = this.#abort.signal;
  readonly ambient;
  #refusal: OwnExceeded | undefined;

  constructor(
    readonly missions: OwnMissions,
    readonly id: string,
    public budgetUsd: number,
    readonly onExceed: "kill" | "pause",
  ) {
    const rule: Rule = {
      name: "OwnMission",
      evaluate: () =>
        this.status === "running"
          ? RuleDecision.claim({
              scope: { label: "mission_id", value: id },
              measure: "usd",
              window: { kind: "lifetime" },
              limit: this.budgetUsd,
            })
          : RuleDecision.block({ status: this.status }),
      onShortfall: (_context, { settled, needed, limit }) =>
        settled + needed > limit ? RuleDecision.block({ settled, limit }) : null,
      violation: (details) => this.exceed(details),
    };
    this.ambient = { labels: { mission_id: id }, rules: [rule], mission: { id } };
  }

  exceed(details: ViolationDetails): PolicyViolationError {
    if (this.onExceed === "pause") {
      this.status = "paused";
      return new OwnExceeded(details, this.id, "pause");
    }
    this.status = "killed";
    this.#refusal ??= new OwnExceeded(details, this.id, "kill");
    this.#abort.abort(this.#refusal);
    return this.#refusal;
  }

  add(usd: number): void {
    this.budgetUsd += usd;
    this.status = "running";
  }

  async end(status?: "completed" | "failed"): Promise<void> {
    this.missions.ends.push([this.id, status]);
  }
}
