import { readFileSync } from "node:fs";

/** One measured fact about the origin of the rules; names are the origin's. */
export interface Vector {
  readonly id: string;
  /** The origin's behaviour is a measured defect: it is not to be reproduced. */
  readonly defect?: string;
  readonly expect?: Record<string, unknown>;
  /** What is right instead of a defect. */
  readonly successor_expect?: Record<string, unknown>;
}

export type RuleSpec = { readonly type: string } & Readonly<Record<string, unknown>>;

export interface Past {
  /** "null": the price was not known. */
  readonly cost_usd: number | "null";
  readonly at?: string;
  readonly age_s?: number;
  readonly user_id?: string;
  readonly n: number;
}

export interface RuleVector extends Vector {
  readonly rule: RuleSpec;
  readonly request?: { readonly model: string; readonly prompt_tokens?: number; readonly max_tokens?: number };
  readonly price_usd_per_1k?: { readonly input: number; readonly output: number };
  readonly now?: string;
  readonly history?: readonly Past[];
  readonly labels?: Readonly<Record<string, unknown>>;
}

export interface EngineVector extends Vector {
  readonly rules: readonly RuleSpec[];
  readonly request: { readonly model: string };
  readonly labels?: Readonly<Record<string, unknown>>;
}

export interface ForecastVector extends Vector {
  readonly lookback_days: number;
  readonly history: readonly Past[];
}

export interface LabelsVector extends Vector {
  readonly default_labels: Readonly<Record<string, unknown>>;
  readonly ambient: readonly Readonly<Record<string, unknown>>[];
  readonly per_call: Readonly<Record<string, unknown>>;
}

export interface StreamVector extends Vector {
  readonly pre_call_prompt_tokens: number;
  readonly chunks: readonly { readonly text: string }[];
}

export interface Vectors {
  readonly policy_rules: readonly RuleVector[];
  readonly policy_engine: readonly EngineVector[];
  readonly forecast: readonly ForecastVector[];
  readonly labels: readonly LabelsVector[];
  readonly streaming: readonly StreamVector[];
}

export const origin = JSON.parse(readFileSync(new URL("origin.json", import.meta.url), "utf8")) as Vectors &
  Record<string, unknown>;
