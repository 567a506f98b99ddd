import type { Intervention, MissionStatus } from "./state.js";

/** What `policy.on` hears of missions. Money in USD. */
declare module "@driftlock/core" {
  interface PolicyEvents {
    readonly "mission-started": {
      readonly missionId: string;
      readonly name: string;
      readonly budgetUsd: number;
      readonly parent: string | null;
    };
    /** Spend passed `warningThreshold`: once per mission. */
    readonly "mission-warned": {
      readonly missionId: string;
      readonly spentUsd: number;
      readonly budgetUsd: number;
    };
    /** A downgrade, a pause, a kill, a wrap-up or a raise took effect. */
    readonly "mission-intervened": Intervention;
    readonly "mission-ended": {
      readonly missionId: string;
      readonly status: MissionStatus;
      readonly spentUsd: number;
      readonly budgetUsd: number;
      readonly callCount: number;
    };
    /** A call of an ended mission was closed: it counts in its totals. */
    readonly "mission-late-call": { readonly missionId: string; readonly id: string; readonly costUsd: number };
  }
}
