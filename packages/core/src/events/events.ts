import type { Labels } from "../domain/labels.js";
import type { Receipt } from "../domain/receipt.js";

interface Call {
  readonly id: string;
  readonly model: string;
  readonly labels: Labels;
}

interface Refused {
  readonly ruleName: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** What `policy.on` can hear. Plain JSON-able objects, never prompt text. Other packages add events of their own. */
export interface PolicyEvents {
  /** Money is set aside; the call may go. `assumed`: it has no maximum that binds it, so it can exceed what was held. */
  "call-reserved": Call & { readonly heldUsd: number; readonly maxOutputTokens: number; readonly assumed: boolean };
  /** It waits for holds of other calls. */
  "call-waiting": Call & { readonly ruleName: string };
  "call-denied": Call & Refused & { readonly code: string; readonly retryAfterMs?: number };
  /** The model was swapped or the output maximum set or lowered. */
  "call-amended": Call & {
    readonly from: { model: string; maxOutputTokens?: number };
    readonly maxOutputTokens: number;
  };
  /** A rule in shadow would have refused it. */
  "call-shadowed": Call & Refused;
  "call-settled": Call & { readonly receipt: Receipt };
  "call-released": Call & { readonly reason: "never-sent" | "unbilled" };
  /** The lease was over before the call was closed; `receipt` is what stands now. */
  "lease-expired": Call & { readonly receipt: Receipt };
  /** Spend passed 50, 80 or 100 % of a limit: once per window. */
  "threshold-crossed": {
    readonly ruleName: string;
    readonly scope: unknown;
    readonly percent: number;
    readonly spentUsd: number;
    readonly maxUsd: number;
  };
  "store-failed": { readonly operation: string; readonly message: string; readonly id?: string };
  /** A usage that cannot be true, or none at all where one was due; the call was settled at its bound. */
  "usage-invalid": { readonly id: string; readonly field: string; readonly message: string };
}

export type PolicyEventName = keyof PolicyEvents;
