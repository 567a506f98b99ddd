import type { Labels } from "@driftlock/core";
import type { Past } from "./projection.js";

/** What a mission does when it has spent, or by its forecast will spend, more than its budget. */
export type OnExceed = "downgrade" | "pause" | "kill" | "wrapUp" | "callback";

/** What a callback may answer. */
export type CallbackAnswer = "continue" | "downgrade" | "kill" | "pause";

/** When the intervention comes: at the budget's end, or when the forecast's low or expected end passes it. */
export type InterveneOn = "breach" | "low" | "expected";

/** A mission's options as the ledger keeps them, so that any process can continue it. Money in nano-USD, times in ms. */
export interface Terms {
  readonly v: 1;
  readonly name: string;
  readonly budget: number;
  readonly onExceed: OnExceed;
  readonly ladder: readonly string[];
  readonly warningThreshold: number;
  readonly interveneOn: InterveneOn;
  readonly onPause: "throw" | "wait";
  readonly callbackTimeoutMs: number;
  readonly labels: Labels;
  readonly startedAt: number;
  /** Kept back for the last call. */
  readonly reserve: number;
  readonly expectedCalls?: number;
  readonly maxCalls?: number;
  readonly maxTokens?: number;
  readonly maxDurationMs?: number;
  readonly maxRaise?: number;
  readonly slice?: number;
  readonly parent?: string;
  /** How long the missions of the name were that had ended before it began. */
  readonly past?: Past;
}
