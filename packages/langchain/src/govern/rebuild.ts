import { ConfigError } from "@driftlock/core";
import type { Callbacks } from "@langchain/core/callbacks/manager";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";

type Fields = Readonly<Record<string, unknown>>;

/** What a model made for one call has otherwise than the model it was made from. */
export interface Changes {
  readonly model?: string | undefined;
  /** Under every name that packages have for it. */
  readonly maxOutputTokens?: number | undefined;
  /** Attempts after the first. */
  readonly maxRetries?: number | undefined;
  /** Added to the model's own. */
  readonly callbacks?: Exclude<Callbacks, { copy(): unknown }> | undefined;
}

const maximums = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

/** A model that knows how to be made again. */
interface Remakable<Model> {
  remade(changes: Changes): Model;
}

/** What a constructor makes for itself, and would keep of the old model. */
const made: ReadonlySet<string> = new Set([
  "caller",
  "client",
  "clientConfig",
  "batchClient",
  "streamingClient",
  "completions",
  "responses",
  "fields",
  "defaultOptions",
]);

/**
 * The same model once more, with changes: made by its own constructor from its own fields, because changing an instance
 * changes the calls of others that are under way. Whether the changes arrive in the request is for the capture to see.
 * @throws ConfigError when the model cannot be made again.
 */
export function rebuild<Model extends BaseChatModel>(model: Model, changes: Changes): Model {
  const { remade } = model as Partial<Remakable<Model>>;
  if (remade !== undefined) return remade.call(model, changes);
  const own = fieldsOf(model);
  const { callbacks, maxRetries, maxOutputTokens } = changes;
  const fields: Record<string, unknown> = { ...own, ...changedSince(model, own) };
  if (changes.model !== undefined) Object.assign(fields, named(own, changes.model));
  if (maxOutputTokens !== undefined) Object.assign(fields, bounded(model, own, maxOutputTokens));
  if (maxRetries !== undefined) fields["maxRetries"] = maxRetries;
  if (callbacks !== undefined) fields["callbacks"] = [...handlersOf(own["callbacks"]), ...callbacks];
  const again = make(model, fields);
  // Options bound to the instance: ChatOpenAI keeps its tools there.
  const { defaultOptions } = model as { defaultOptions?: unknown };
  if (defaultOptions !== undefined) Object.assign(again, { defaultOptions });
  return again;
}

function make<Model extends BaseChatModel>(model: Model, fields: Fields): Model {
  try {
    return new (model.constructor as new (fields: Fields) => Model)({ ...fields });
  } catch (cause) {
    const problem =
      "cannot be made again from its own fields to carry what the policy granted; give it its maxTokens and maxRetries: 0, " +
      "or a constructor that takes its fields as one object";
    throw new ConfigError({ field: "model", value: model.getName(), problem, cause });
  }
}

/** What the model was made with: ChatOpenAI and most others keep it whole, some keep it as properties of the same names. */
function fieldsOf(model: BaseChatModel): Fields {
  const { fields, lc_kwargs, lc_serializable_keys } = model as {
    fields?: unknown;
    lc_kwargs?: unknown;
    lc_serializable_keys?: unknown;
  };
  if ("fields" in model) return isFields(fields) ? fields : {};
  const kept = isFields(lc_kwargs) ? lc_kwargs : {};
  if (lc_serializable_keys === undefined) return kept;
  const own = Object.entries(model).filter(
    // `streaming: false` said aloud would turn streaming off where it is only not the default.
    ([name, value]) => !name.startsWith("lc_") && !made.has(name) && !(name === "streaming" && value === false),
  );
  return { ...Object.fromEntries(own), ...kept };
}

/** Settings that were changed on the instance after it was made. */
function changedSince(model: BaseChatModel, fields: Fields): Fields {
  const fresh = make(model, fields) as unknown as Fields;
  const changed = Object.entries(model).filter(
    ([name, value]) =>
      !made.has(name) && ["string", "number", "boolean"].includes(typeof value) && fresh[name] !== value,
  );
  return Object.fromEntries(changed);
}

function named(own: Fields, model: string): Fields {
  return { model, ...("modelName" in own && { modelName: model }), ...("modelId" in own && { modelId: model }) };
}

function bounded(model: BaseChatModel, own: Fields, maximum: number): Fields {
  const kwargs = isFields(own["modelKwargs"]) ? own["modelKwargs"] : {};
  const extra = maximums.filter((name) => name in kwargs);
  // A maximum among the extra parameters of the request wins over the model's own, and some APIs refuse both.
  if (extra.length > 0 && own["maxTokens"] === undefined && !extra.includes("max_tokens")) {
    return { modelKwargs: { ...kwargs, ...Object.fromEntries(extra.map((name) => [name, maximum])) } };
  }
  const rest = Object.entries(kwargs).filter(([name]) => !extra.includes(name));
  const names = ["maxOutputTokens", "numPredict", ...maximums].filter((name) => name in own || name in model);
  return {
    maxTokens: maximum,
    ...("maxCompletionTokens" in own && { maxCompletionTokens: maximum }),
    ...Object.fromEntries(names.map((name) => [name, maximum])),
    ...(extra.length > 0 && { modelKwargs: Object.fromEntries(rest) }),
  };
}

function handlersOf(callbacks: unknown): readonly unknown[] {
  return Array.isArray(callbacks) ? callbacks : ((callbacks as { handlers?: unknown[] } | undefined)?.handlers ?? []);
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
