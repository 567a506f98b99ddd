import {
  CostVelocityRule,
  DriftlockError,
  ForecastBudgetRule,
  MaxCostPerRequestRule,
  MonthlyBudgetRule,
  PerUserBudgetRule,
  PolicyEngine,
  PolicyViolationError,
  RestrictModelRule,
  TagBasedModelDowngradeRule,
  VelocityLimitRule,
  withLabels,
  BudgetRule,
  type Context,
  type Labels,
  type PolicyEngineOptions,
  type Rule,
} from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";
import type {
  EngineVector,
  ForecastVector,
  LabelsVector,
  Past,
  RuleSpec,
  RuleVector,
  StreamVector,
} from "./vectors.js";

/** What came of a vector, in the origin's words. */
export type Outcome = Record<string, unknown>;

export interface PlayOptions {
  /** The present is this many ms after a full minute, where the vector does not fix it. */
  readonly atMs?: number;
  /** Labels are given as strings, whatever the vector has. */
  readonly strings?: boolean;
}

const NOON = Date.parse("2026-03-15T12:00:00Z");
const someModels = { a: { inputUsdPerMTok: 1, outputUsdPerMTok: 1 }, b: { inputUsdPerMTok: 1, outputUsdPerMTok: 1 } };
const base = { reservation: "off", prices: { overrides: someModels } } as const satisfies Partial<PolicyEngineOptions>;

export async function playRule(vector: RuleVector, options: PlayOptions = {}): Promise<Outcome> {
  const { rule, request, price_usd_per_1k: price, history = [], labels = {} } = vector;
  const present = vector.now === undefined ? NOON + (options.atMs ?? 0) : Date.parse(vector.now);
  const own = price && { "gpt-4o": { inputUsdPerMTok: price.input * 1_000, outputUsdPerMTok: price.output * 1_000 } };
  const { clock, policyOf } = world(present - 40 * 86_400_000, { prices: { overrides: { ...someModels, ...own } } });
  const policy = policyOf([ruleOf(rule, options)]);
  const past = await remember(policyOf([ruleOf(rule, options)], "shadow"), clock, history, present);
  const call = {
    model: request?.model ?? "gpt-4o",
    inputTokens: request?.prompt_tokens ?? 10,
    maxOutputTokens: request?.max_tokens ?? 10,
  };
  return attempt(async () => {
    const given = { ...call, labels: labelsOf(labels, options) };
    const [verdict] = await policy.evaluate(given);
    const { allow, action, metadata } = verdict!;
    const sent = await policy.authorize(given).then(
      () => true,
      () => false,
    );
    if (sent !== allow) throw new Error(`evaluate says ${allow}, authorize ${sent}`);
    return { allow, action, metadata: snake(metadata), ...(past === undefined ? {} : { history: past }) };
  });
}

export async function playEngine(vector: EngineVector, options: PlayOptions = {}): Promise<Outcome> {
  const { policyOf } = world(NOON);
  const policy = policyOf(vector.rules.map((rule) => ruleOf(rule, options)));
  const sent: string[] = [];
  return attempt(async () => {
    const request = {
      model: vector.request.model,
      inputTokens: 10,
      maxOutputTokens: 10,
      labels: labelsOf(vector.labels ?? {}, options),
    };
    try {
      await policy.run(request, ({ model }) => void sent.push(model));
    } catch (error) {
      if (!PolicyViolationError.isInstance(error)) throw error;
      return { outcome: "policy_violation", rule_name: error.ruleName, provider_calls: sent.length };
    }
    return { outcome: "sent", sent_model: sent[0], provider_calls: sent.length };
  });
}

/** The forecast as the rule shows it when it blocks, which a budget of a nano-dollar makes it do. */
export async function playForecast({ lookback_days: lookbackDays, history }: ForecastVector): Promise<Outcome> {
  const { clock, policyOf } = world(NOON - 40 * 86_400_000);
  const rule = new ForecastBudgetRule({ monthlyBudgetUsd: 1e-9, lookbackDays });
  await remember(policyOf([rule], "shadow"), clock, history, NOON);
  const [verdict] = await policyOf([rule]).evaluate({ operation: "next", costUsd: 1 });
  return { ...snake(verdict!.metadata), lookback_days: rule.lookbackDays };
}

export async function playLabels(
  { default_labels, ambient, per_call }: LabelsVector,
  options: PlayOptions = {},
): Promise<Outcome> {
  return attempt(async () => {
    const seen: Labels[] = [];
    const look: Rule = {
      name: "look",
      evaluate: ({ labels }) => (seen.push(labels), { allow: true, action: null, metadata: {} }) as never,
    };
    const { policyOf } = world(NOON, { defaultLabels: labelsOf(default_labels, options) });
    const policy = policyOf([look]);
    const send = () => policy.authorize({ operation: "x", costUsd: 0, labels: labelsOf(per_call, options) });
    await withLabels({ of: "a block that is over" }, async () => undefined);
    await ambient.reduceRight<() => Promise<unknown>>(
      (inner, labels) => () => withLabels(labelsOf(labels, options), inner),
      send,
    )();
    return { ...seen.at(-1) };
  });
}

export async function playStream({ pre_call_prompt_tokens: inputTokens, chunks }: StreamVector): Promise<Outcome> {
  const { policyOf } = world(NOON);
  const policy = policyOf([new BudgetRule({ maxTokens: 1_000_000 })]);
  const source = async function* () {
    for (const { text } of chunks) yield { choices: [{ delta: { content: text } }] };
  };
  let seen = 0;
  for await (const _chunk of await policy.run({ model: "gpt-4o", inputTokens }, source)) seen++;
  const [tokens] = await policy.usage();
  return { prompt_tokens: inputTokens, completion_tokens: tokens!.spentUsd - inputTokens, chunks: seen };
}

/** Policies on one ledger and one clock, which stands at `start`. */
function world(start: number, more: Partial<PolicyEngineOptions> = {}) {
  const clock = new ManualClock(start);
  const { ledger } = new PolicyEngine({ rules: [], store: "memory", clock });
  const policyOf = (rules: readonly Rule[], mode: "enforce" | "shadow" = "enforce") =>
    new PolicyEngine({ ...base, ...more, rules, store: ledger, clock, mode });
  return { clock, policyOf };
}

/** Plays recorded calls on a policy in shadow: they happened, whatever a limit says. Answers what refused one. */
async function remember(
  policy: PolicyEngine,
  clock: ManualClock,
  history: readonly Past[],
  present: number,
): Promise<string | undefined> {
  let refused: string | undefined;
  for (const { cost_usd: cost, at, age_s: age = 0, user_id, n } of history) {
    clock.advanceTo(at === undefined ? present - age * 1_000 : Date.parse(at));
    const labels: Labels = user_id === undefined ? {} : { user_id };
    for (let i = 0; i < n; i++) {
      if (cost === "null")
        refused = await codeOf(
          new PolicyEngine({ ...base, rules: [], store: policy.ledger, clock }).authorize({
            model: "a model nobody knows",
            inputTokens: 10,
            labels,
          }),
        );
      else await (await policy.authorize({ operation: "past", costUsd: cost, labels })).settle();
    }
  }
  clock.advanceTo(present);
  return refused;
}

async function attempt(play: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await play();
  } catch (error) {
    if (!DriftlockError.isInstance(error)) throw error;
    return { error: error.code, ...("field" in error ? { field: error.field } : {}) };
  }
}

const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => DriftlockError.find(error)?.code,
  );

function ruleOf(spec: RuleSpec, options: PlayOptions): Rule {
  const { type, condition, ...rest } = spec;
  const given = {
    ...camel(rest),
    ...(condition === undefined
      ? {}
      : { condition: conditionOf(condition as { label: string; equals: unknown }, options) }),
  } as never;
  switch (type) {
    case "monthly_budget":
      return new MonthlyBudgetRule(given);
    case "max_cost_per_request":
      return new MaxCostPerRequestRule(given);
    case "per_user_budget":
      return new PerUserBudgetRule(given);
    case "forecast_budget":
      return new ForecastBudgetRule(given);
    case "velocity_limit":
      return new VelocityLimitRule(given);
    case "cost_velocity":
      return new CostVelocityRule(given);
    case "restrict_model":
      return new RestrictModelRule(given);
    case "tag_model_downgrade":
      return new TagBasedModelDowngradeRule(given);
    default:
      throw new Error(`no rule is called ${type}`);
  }
}

function conditionOf({ label, equals }: { label: string; equals: unknown }, { strings }: PlayOptions) {
  return ({ labels }: Context) => labels[label] === (strings ? String(equals) : equals);
}

function labelsOf(labels: Readonly<Record<string, unknown>>, { strings }: PlayOptions): Labels {
  return Object.fromEntries(
    Object.entries(labels).map(([key, value]) => [key, strings ? String(value) : value]),
  ) as Labels;
}

const camel = (names: object) =>
  Object.fromEntries(
    Object.entries(names).map(([key, value]) => [
      key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
      value as unknown,
    ]),
  );
const snake = (names: object) =>
  Object.fromEntries(
    Object.entries(names).map(([key, value]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value as unknown,
    ]),
  );
