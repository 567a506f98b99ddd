/** What may follow a model's name in its dated variants: -2024-08-06, -20241022, @20250101, -0613, -latest. */
const dated = /^(?:-\d{4}-\d{2}-\d{2}|[-@]\d{8}|-\d{4}|-latest|@latest|@default)$/;

/** Whether `model` is `base` or a dated variant of it: `gpt-4o-2024-08-06` is one of `gpt-4o`, `gpt-4o-mini` is not. */
export function isVariantOf(model: string, base: string): boolean {
  const [name, listed] = [model.toLowerCase(), base.toLowerCase()];
  return name === listed || (name.startsWith(listed) && dated.test(name.slice(listed.length)));
}

/** Families whose answers begin with hidden reasoning tokens: only a default depends on it. */
const reasoning = /(?:^|[/.])(?:o[1-9]|gpt-5|gpt-oss|deepseek-(?:r\d|reasoner)|grok-[4-9]|magistral|qwq)|think|reason/;

/** Whether a model usually reasons before it answers; then its default output maximum is larger. */
export function isReasoningModel(model: string): boolean {
  const name = model.toLowerCase();
  return reasoning.test(name) && !/non-reasoning|gpt-5[\w.]*-chat/.test(name);
}
