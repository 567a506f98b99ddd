import { carry, recordOf } from "../errors/carried.js";
import { ConfigError } from "../errors/config-error.js";
import { kinds, type DriftlockError } from "../errors/driftlock-error.js";
import { openAIError, type ErrorDetails, type Protocol } from "./protocols/protocol.js";

/**
 * An error of ours as an answer. A thrown one would be retried by every client as a lost connection. 402 is final for all of
 * them: no money could be set aside for the call, be it that a rule refused or that the store did not answer. 400 for a
 * request that cannot be judged.
 */
export function refusal(error: DriftlockError, protocol?: Protocol): Response {
  const isBadRequest = ConfigError.isInstance(error);
  const details: ErrorDetails = {
    type: isBadRequest ? "invalid_request_error" : "billing_error",
    message: error.message,
    code: error.code,
    param: isBadRequest ? error.field : null,
    driftlock: recordOf(error, kinds(error) ?? []),
  };
  const body = (protocol?.errorBody ?? openAIError)(details);
  const headers = { "content-type": "application/json", "x-should-retry": "false" };
  const response = new Response(JSON.stringify(body), { status: isBadRequest ? 400 : 402, headers });
  carry(response.headers, error);
  return response;
}
