export { driftlockMiddleware } from "./middleware.js";
export type { CallLimits, DriftlockMiddlewareOptions, ExitBehavior, ToolCallLimit } from "./options.js";
export type { MissionControl, MissionHandle, MissionIdentity, MissionOption, MissionRaise } from "./mission.js";
