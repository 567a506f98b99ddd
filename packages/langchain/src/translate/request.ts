import { ConfigError, type ModelRequest } from "@driftlock/core";

type Fields = Readonly<Record<string, unknown>>;

/** What LangChain tells at the start of a model call. */
export interface HostCall {
  /** The model as LangChain serializes it, with its constructor's arguments in `kwargs`. */
  readonly llm: unknown;
  /** `invocation_params`: what will be sent; `options`: how the model was called. */
  readonly extraParams: Fields | undefined;
  /** OpenAI-shaped. */
  readonly messages: readonly unknown[];
}

const none: Fields = {};

/** How providers' packages spell the maximum of output tokens. The first three are OpenAI's own. */
const maximums = [
  "max_completion_tokens",
  "max_tokens",
  "max_output_tokens",
  "maxTokens",
  "maxOutputTokens",
  "num_predict",
];

/**
 * The request behind a call. `fallback` names the model where LangChain does not.
 * @throws ConfigError when it is not known which model is called, or when the call replaces its own request.
 */
export function requestFrom(
  { llm, extraParams, messages }: HostCall,
  fallback?: string,
): ModelRequest & { signal?: AbortSignal } {
  const options = fields(extraParams?.["options"]);
  refuseBody(options);
  const { tools, model: _, ...params } = fields(extraParams?.["invocation_params"]);
  const sent = fields(extraParams?.["invocation_params"]);
  const made = fields(fields(llm)["kwargs"]);
  // An Azure deployment's model is whatever was deployed; without a `model` of its own LangChain tells its default.
  const isGuess = made["deployment_name"] !== undefined && nameOf(made) === undefined;
  const told = isGuess ? undefined : nameOf(sent);
  const model = told ?? fallback ?? nameOf(made);
  if (model === undefined) {
    const problem =
      "LangChain does not tell which model is called; give the handler its name: new DriftlockCallbackHandler({ policy, model })";
    throw new ConfigError({ field: "model", value: undefined, problem });
  }
  const { signal } = options as { signal?: AbortSignal };
  const maxOutputTokens =
    maximumOf(sent) ?? maximumOf(fields(sent["inferenceConfig"])) ?? (told === undefined ? maximumOf(made) : undefined);
  return {
    model,
    messages,
    params,
    ...(Array.isArray(tools) && { tools }),
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    ...(signal !== undefined && { signal }),
  };
}

/** The SDK sends such a body instead of the request the policy judges. */
function refuseBody(options: Fields): void {
  const body = options["body"] ?? fields(options["options"])["body"];
  if (body === undefined) return;
  const problem = "would replace the request that the policy judges; use the model's own parameters or modelKwargs";
  throw new ConfigError({ field: "options.body", value: body, problem });
}

function nameOf(source: Fields): string | undefined {
  for (const key of ["model", "model_name", "modelName", "model_id", "modelId"]) {
    const name = source[key];
    if (typeof name === "string" && name !== "") return name;
  }
  return undefined;
}

/** The largest, because any of them may bind. Negative ones mean "no maximum" (-1). */
function maximumOf(source: Fields): number | undefined {
  const given = maximums
    .map((name) => source[name])
    .filter((value) => Number.isInteger(value) && (value as number) >= 0);
  return given.length === 0 ? undefined : Math.max(...(given as number[]));
}

function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : none;
}
