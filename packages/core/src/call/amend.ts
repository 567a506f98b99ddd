import type { Hold } from "../ledger/ledger.js";
import type { Admitted } from "./admission.js";
import type { AmendedRequest } from "./authorization.js";
import type { Call } from "./call.js";
import type { OpenCall } from "./open-call.js";
import { maximums } from "./sizing.js";

/** What closing the admitted call needs later. */
export function openCallOf(call: Call, { hold, candidate, n }: Admitted): OpenCall {
  const { provider, operation } = call.request;
  const { kinds } = candidate.sizing;
  return {
    id: call.id,
    model: candidate.context.model,
    labels: call.labels,
    hold,
    boundNano: candidate.boundNano(n),
    heldNano: heldNano(hold),
    inputTokens: candidate.sizing.inputTokens,
    outputTokens: candidate.tokens.perToken * n,
    kinds,
    provider,
    fixed: operation === undefined ? undefined : true,
  };
}

/** The request as it may be sent: the policy's model, and the granted maximum where it has to bind. */
export function amend({ request }: Call, { candidate, n }: Admitted): AmendedRequest {
  const { model } = candidate.context;
  if (request.operation !== undefined) return { ...request, model: request.operation };
  // Not a spread: V8 takes five times as long to write a property again that it has just spread.
  if (!setsMaximum(candidate, n)) return Object.assign({}, request, { model });
  const { params } = request;
  const amended = Object.assign({}, request, { model, maxOutputTokens: n });
  return params !== undefined && n < candidate.sizing.want ? { ...amended, params: lowered(params, n) } : amended;
}

/** A maximum that the caller put among the parameters is lowered there too: it is what would be sent. */
function lowered(params: Readonly<Record<string, unknown>>, n: number): Readonly<Record<string, unknown>> {
  const given = maximums.filter((name) => typeof params[name] === "number");
  return given.length === 0
    ? params
    : { ...params, ...Object.fromEntries(given.map((name) => [name, Math.min(params[name] as number, n)])) };
}

/** Whether the request must carry n: it had no maximum, or its own was lowered. */
export function setsMaximum({ sizing }: Admitted["candidate"], n: number): boolean {
  return sizing.sendsMaximum || n < sizing.want;
}

function heldNano({ epoch, meters, amounts }: Hold): number {
  if (epoch === "") return 0;
  for (let i = 0; i < meters.length; i++) if (meters[i]!.measure === "usd") return amounts[i]!;
  return 0;
}
