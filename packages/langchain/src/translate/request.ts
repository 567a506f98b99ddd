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

/** What LangChain tells of a request that goes out. */
export interface ToldRequest {
  /** Absent where it is not told. */
  readonly model?: string;
  readonly maxOutputTokens?: number;
  /** Answers that are asked for at once, each up to the maximum. */
  readonly choices?: number;
  /** Nothing at all is told of what is sent: fakes, packages that do not say. */
  readonly isSilent: boolean;
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
  "numPredict",
];

/** Where packages nest what they send: Amazon Bedrock, Ollama, Google. */
const nests = ["inferenceConfig", "options", "generationConfig"];

/**
 * The request behind a call. `fallback` names the model where LangChain does not.
 * @throws ConfigError when it is not known which model is called, or when the call replaces its own request.
 */
export function requestFrom(host: HostCall, fallback?: string): ModelRequest & { signal?: AbortSignal } {
  const { extraParams, messages } = host;
  const options = fields(extraParams?.["options"]);
  refuseBody(options);
  const { tools, model: _, ...params } = fields(extraParams?.["invocation_params"]);
  const { made, told, maximum } = readCall(host);
  const model = told ?? fallback ?? nameOf(made);
  if (model === undefined) {
    const problem = "LangChain does not tell which model is called; name it with the option model, beside policy";
    throw new ConfigError({ field: "model", value: undefined, problem });
  }
  const { signal } = options as { signal?: AbortSignal };
  return {
    model,
    messages,
    params,
    ...(Array.isArray(tools) && { tools }),
    ...(maximum !== undefined && { maxOutputTokens: maximum }),
    ...(signal !== undefined && { signal }),
  };
}

/** What is told of a request that goes out: its model and the maximum that binds it. */
export function toldRequest(host: Pick<HostCall, "llm" | "extraParams">): ToldRequest {
  const { sent, made, told, maximum } = readCall(host);
  const model = told ?? nameOf(made);
  const { n: choices } = sent;
  return {
    ...(model !== undefined && { model }),
    ...(maximum !== undefined && { maxOutputTokens: maximum }),
    ...(typeof choices === "number" && { choices }),
    isSilent: model === undefined && maximum === undefined && isEmpty(sent),
  };
}

function readCall({ llm, extraParams }: Pick<HostCall, "llm" | "extraParams">) {
  const sent = fields(extraParams?.["invocation_params"]);
  const made = fields(fields(llm)["kwargs"]);
  // An Azure deployment's model is whatever was deployed; without a `model` of its own LangChain tells its default.
  const isGuess = made["deployment_name"] !== undefined && nameOf(made) === undefined;
  const told = isGuess ? undefined : nameOf(sent);
  const maximum = maximumOf(sent) ?? (told === undefined ? maximumOf(made) : undefined);
  return { sent, made, told, maximum };
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
  let most = largest(source, undefined);
  for (const nest of nests) {
    const nested = source[nest];
    if (typeof nested === "object" && nested !== null) most = largest(nested as Fields, most);
  }
  return most;
}

function largest(source: Fields, most: number | undefined): number | undefined {
  for (const name of maximums) {
    const value = source[name];
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && !(value < (most ?? 0))) most = value;
  }
  return most;
}

function isEmpty(source: Fields): boolean {
  return Object.values(source).every((value) => value === undefined);
}

function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : none;
}
