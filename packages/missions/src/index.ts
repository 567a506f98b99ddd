import "./events.js";

export { Missions, type AttachOptions, type KillOptions, type MissionRow, type MissionsOptions } from "./missions.js";
export type { Mission, MissionReport } from "./mission.js";
export type { MissionHooks, MissionOptions } from "./options.js";
export type { CallbackAnswer, InterveneOn, OnExceed } from "./terms.js";
export type { RaiseOptions } from "./raise.js";
export type { MissionStats, RecentCall, StatsRow } from "./stats.js";
export type { Intervention, MissionStatus } from "./state.js";
export { MissionBudgetExceededError, type RefusalAction } from "./errors.js";
export { project, type Confidence, type Observed, type Outlook, type Past, type Projection } from "./projection.js";
export type { Streamed } from "./streamed.js";
