/** What a provider writes as the date of a version: 2024-08-06, 20241022, 08-2024 (Cohere), 0613 (MMDD), 2411 (YYMM). */
const DATE = [
  String.raw`20\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])`,
  String.raw`(?:0[1-9]|1[0-2])-20\d\d`,
  String.raw`(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])`,
  String.raw`2[3-9](?:0[1-9]|1[0-2])`,
].join("|");

/**
 * The endings that name a version of a model and not another model: a date, a dated preview (`-preview-05-20`), Google's
 * `-001`, Anthropic's `-0` (claude-sonnet-4-0 is claude-sonnet-4), `-latest`, `@default` (Vertex). Not `-mini`, `-pro`,
 * `-preview`, `-5`, `:free`, `:batch`: those have prices of their own.
 */
const VERSION = new RegExp(
  String.raw`^(?:[-@](?:${DATE})|-(?:preview|exp)-(?:${DATE}|\d\d-\d\d)|-0(?:\d\d)?|[-@:]latest|@default)$`,
);

/** Amazon Bedrock: an optional geography, then the maker, then the name (`us.anthropic.claude-…`). */
const GEOGRAPHY = /^(?:us-gov|us|eu|apac|ap|au|ca|in|jp|sa|me|af|global)\.(?=[a-z0-9]+\.[a-z])/;
const MAKER = /^[a-z0-9]+\.(?=[a-z])/;
/** Bedrock's revision of a deployment: `-v1`, `-v2:0`, `:0`. */
const REVISION = /(?:-v\d+(?::\d+)?|:\d+)$/;

/** A name as it is compared: without case and surrounding space. */
export function modelKey(name: string): string {
  return name.trim().toLowerCase();
}

/** Whether a name has the shape of an Amazon Bedrock id, with or without a geography. */
export function isBedrockName(name: string): boolean {
  return MAKER.test(modelKey(name));
}

/**
 * The ways one id is written, the id itself first: without the path a host puts before it (`models/`, `openai/`, an ARN), and
 * for Bedrock ids without geography, maker and revision.
 */
function spellings(model: string): readonly string[] {
  const key = modelKey(model);
  const tail = key.slice(key.lastIndexOf("/") + 1);
  const names = new Set([key, tail]);
  if (MAKER.test(tail)) {
    const local = tail.replace(GEOGRAPHY, "");
    for (const name of [tail, local, local.replace(MAKER, "")]) {
      names.add(name);
      names.add(name.replace(REVISION, ""));
    }
  }
  return [...names];
}

/**
 * Whether `model` is `base` itself or a dated variant of it: `gpt-4o-2024-08-06`, `openai/gpt-4o` and `gpt-4o-latest` are
 * `gpt-4o`; `gpt-4o-mini` is not. Case does not count. Paths and Bedrock's geography and revision are looked through on the
 * model's side only: a base written with a path means that host.
 */
export function isVariantOf(model: string, base: string): boolean {
  const listed = modelKey(base);
  if (listed === "") return false;
  return spellings(model).some(
    (name) => name.startsWith(listed) && (name.length === listed.length || VERSION.test(name.slice(listed.length))),
  );
}

/** Whether the provider moves this name to newer models over time, so that its price can change under it. */
export function isDrifting(model: string): boolean {
  return /(?:^|[-@:~/])latest$/.test(modelKey(model));
}

/** Families whose answers begin with hidden reasoning tokens: only a default depends on it. */
const reasoning = /(?:^|[/.])(?:o[1-9]|gpt-5|gpt-oss|deepseek-(?:r\d|reasoner)|grok-[4-9]|magistral|qwq)|think|reason/;

/** Whether a model usually reasons before it answers; then its default output maximum is larger. */
export function isReasoningModel(model: string): boolean {
  const name = model.toLowerCase();
  return reasoning.test(name) && !/non-reasoning|gpt-5[\w.]*-chat/.test(name);
}
