export { DriftlockCallbackHandler, type DriftlockCallbackHandlerOptions } from "./handler.js";
