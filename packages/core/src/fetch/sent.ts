import type { Authorization } from "../call/authorization.js";
import type { UsageReport } from "../call/open-call.js";
import type { Protocol } from "./protocols/protocol.js";

/** What is known of a call when its answer begins. */
export interface Sent {
  readonly auth: Authorization;
  readonly protocol: Protocol;
  readonly isStream: boolean;
  /** The stream's usage was asked for by us alone: the event that carries nothing else is kept from the client. */
  readonly asksUsage: boolean;
  /** The name in the answer says which price applies. A deployment's price goes by the name it was called by. */
  readonly pricesByAnswer: boolean;
}

/** A usage by the name whose price applies. */
export function priced(usage: UsageReport | undefined, { pricesByAnswer }: Sent): UsageReport | undefined {
  if (usage === undefined || pricesByAnswer) return usage;
  const { model: _model, ...rest } = usage;
  return rest as UsageReport;
}
