import type { Claim, Reading } from "./claim.js";
import type { Labels } from "./labels.js";

/** The worst case of a call, before it is sent. */
export interface Estimate {
  /** A bound of the prompt, in tokens. */
  readonly inputTokens: number;
  /** Output tokens the call may produce: what will be sent as its maximum, or what is assumed. */
  readonly maxOutputTokens: number;
  /** USD at those tokens. */
  readonly costUsd: number;
}

/** What a rule sees of a call. Read-only. */
export interface Context {
  /** The model to be judged: after a downgrade, the new one. For an operation, its name. */
  readonly model: string;
  readonly messages: readonly unknown[];
  /** Tools the model may call. */
  readonly tools: readonly unknown[];
  readonly params: Readonly<Record<string, unknown>>;
  readonly labels: Labels;
  readonly endpoint: string | undefined;
  readonly provider: string | undefined;
  /** ms since the epoch. */
  readonly now: number;
  readonly estimate: Estimate;
  readonly ledger: { read(claim: Claim): Promise<Reading> };
  /** The innermost mission of the call, if any. */
  readonly mission?: { readonly id: string };
}
