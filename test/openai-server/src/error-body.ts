/** What an OpenAI error response carries under `error`. */
export interface ErrorBody {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
}

/** A request the provider would not accept: status 400. */
export function invalidRequest(message: string, param: string | null = null, code: string | null = null): ErrorBody {
  return { message, type: "invalid_request_error", param, code };
}

export function missingParameter(param: string): ErrorBody {
  return invalidRequest(`Missing required parameter: '${param}'.`, param, "missing_required_parameter");
}

/** A maximum of output tokens below what the provider accepts, or `undefined`. */
export function tooSmall(param: string, value: unknown, minimum: number): ErrorBody | undefined {
  if (typeof value !== "number" || value >= minimum) return undefined;
  const message = `Invalid '${param}': integer below minimum value. Expected a value >= ${minimum}, but got ${value} instead.`;
  return invalidRequest(message, param, "integer_below_min_value");
}

/** What the provider says with `status` when nothing more is known. */
export function errorOfStatus(status: number, model: string): ErrorBody {
  switch (status) {
    case 401:
      return invalidRequest("Incorrect API key provided.", null, "invalid_api_key");
    case 402:
      return {
        message: "Billing hard limit has been reached.",
        type: "billing_error",
        param: null,
        code: "billing_hard_limit_reached",
      };
    case 404:
      return invalidRequest(
        `The model '${model}' does not exist or you do not have access to it.`,
        null,
        "model_not_found",
      );
    case 429:
      return {
        message: `Rate limit reached for ${model} on requests per min (RPM).`,
        type: "requests",
        param: null,
        code: "rate_limit_exceeded",
      };
    default:
      return status < 500
        ? invalidRequest("Your request could not be processed.")
        : {
            message: "The server had an error while processing your request. Sorry about that!",
            type: "server_error",
            param: null,
            code: null,
          };
  }
}
