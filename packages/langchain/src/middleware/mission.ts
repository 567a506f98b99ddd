import { ConfigError, type Ambient } from "@driftlock/core";

/** What the middleware needs of a mission of `@driftlock/missions`. */
export interface MissionHandle {
  readonly id: string;
  /** What its calls carry. */
  readonly ambient: Partial<Ambient>;
  /** "paused" and "killed" are looked at. */
  readonly status: string;
  /** Aborted when the mission is killed. */
  readonly signal: AbortSignal;
  /** A paused one stays paused, to be gone on with after a raise. */
  end(status?: "completed" | "failed"): Promise<void>;
}

/** What the middleware decides about a mission by itself. */
export interface MissionIdentity {
  readonly missionId?: string | undefined;
  readonly ifExists?: "error" | "attach" | undefined;
}

/** What a mission's budget is raised by, once for each `approvalId`. */
export interface MissionRaise {
  readonly addUsd: number;
  readonly by: string;
  readonly approvalId: string;
}

/** What the middleware needs of `Missions` of `@driftlock/missions`: any object of this shape will do. */
export interface MissionControl<Options extends MissionIdentity> {
  /** Begins the mission `missionId`, or goes on with it where it exists. */
  start(options: Options): Promise<MissionHandle>;
  raise(id: string, raise: MissionRaise): Promise<unknown>;
}

/** A budget for each run of an agent, or for each thread. */
export type MissionOption<Options extends MissionIdentity> = {
  /** `new Missions({ policy })`. */
  readonly missions: MissionControl<Options>;
  /** One mission for each `invoke`, also where it goes on after an interrupt; or one for all of a `thread_id`. */
  readonly per: "run" | "thread";
} & Omit<Options, keyof MissionIdentity>;

/** The mission of a run or a thread, begun or gone on with. */
export async function startMission<Options extends MissionIdentity>(
  option: MissionOption<Options>,
  missionId: string,
): Promise<MissionHandle> {
  const { missions, per: _, ...options } = option;
  return missions.start({ ...options, missionId, ifExists: "attach" } as unknown as Options);
}

/** @throws ConfigError naming what is missing. */
export function checkMission(mission: unknown): void {
  if (mission === undefined) return;
  const { missions, per } = (mission ?? {}) as Record<string, unknown>;
  const { start, raise } = (missions ?? {}) as Record<string, unknown>;
  if (typeof start !== "function" || typeof raise !== "function")
    throw new ConfigError({ field: "mission.missions", value: missions, problem: "must be new Missions({ policy })" });
  if (per !== "run" && per !== "thread")
    throw new ConfigError({ field: "mission.per", value: per, problem: 'must be "run" or "thread"' });
}
