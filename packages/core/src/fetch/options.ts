import type { PolicyEngine } from "../engine.js";
import type { Labels } from "../domain/labels.js";
import { ConfigError, reading } from "../errors/config-error.js";
import { checkFunction } from "../policy/options.js";
import { readCallLabels, type CallLabels, type LabelsOption } from "./labels.js";

/** What clients take as their `fetch`. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

export interface GovernFetchOptions {
  /**
   * Labels of every call, or a function of the request that answers them: `({ body }) => ({ user_id: body.user })`. They win
   * over those of `withLabels` around the call. Default: none.
   */
  readonly labels?: LabelsOption | undefined;
  /** What sends the calls. Default: the global `fetch`, as it is now. */
  readonly fetch?: Fetch | undefined;
  /**
   * Whose price list the calls are billed by: `"openrouter"`, `"ollama"`. Default: the provider whose address is called; for an
   * address that is not known, the model's maker.
   */
  readonly provider?: string | undefined;
  /**
   * Requests that are none of the known model calls (files, images, audio, batches, listings): "allow" sends them as they are,
   * "deny" refuses them. Default "allow".
   */
  readonly onUnknownRequest?: "allow" | "deny" | undefined;
  /**
   * Take labels from the header `x-driftlock-labels` (`user_id=ada&team=search`). Whoever can set headers then chooses whose
   * budget is used. The header is never sent on. Default false.
   */
  readonly labelsHeader?: boolean | undefined;
  /**
   * Ask for the usage of streamed chat completions that do not ask themselves (`stream_options.include_usage`), and keep the
   * chunk that brings it from the client. Turn it off for servers that refuse the field: a stream is then charged its input
   * and what was streamed. Default true.
   */
  readonly streamUsage?: boolean | undefined;
}

export interface ResolvedFetchOptions {
  readonly policy: PolicyEngine;
  readonly fetch: Fetch;
  /** The global `fetch`, which makes no governed calls of its own. */
  readonly isGlobalFetch: boolean;
  readonly labels: Labels | Exclude<LabelsOption, CallLabels> | undefined;
  readonly provider: string | undefined;
  readonly deniesUnknown: boolean;
  readonly labelsHeader: boolean;
  readonly streamUsage: boolean;
}

const names = ["labels", "fetch", "provider", "onUnknownRequest", "labelsHeader", "streamUsage"];
const MAX_PROVIDER = 256;

/** Checks the policy and every option. Throws `ConfigError` naming the option and its value. */
export function resolveFetchOptions(policy: PolicyEngine, options: GovernFetchOptions): ResolvedFetchOptions {
  const wrong = (field: string, value: unknown, problem: string) => new ConfigError({ field, value, problem });
  if (!isPolicy(policy)) throw wrong("policy", policy, "must be a PolicyEngine");
  if (typeof options !== "object" || options === null) throw wrong("options", options, "must be an object");
  const given: GovernFetchOptions = reading("options", options, () => ({ ...options }));
  const unknown = Object.keys(given).find((name) => !names.includes(name));
  if (unknown !== undefined) throw wrong(unknown, unknown, `is no option; the options are ${names.join(", ")}`);
  const { labels, provider, onUnknownRequest = "allow", labelsHeader = false, streamUsage = true } = given;
  checkFunction("fetch", given.fetch, true);
  if (provider !== undefined && (typeof provider !== "string" || provider === "" || provider.length > MAX_PROVIDER))
    throw wrong("provider", provider, `must be a string of 1 to ${MAX_PROVIDER} characters`);
  if (onUnknownRequest !== "allow" && onUnknownRequest !== "deny")
    throw wrong("onUnknownRequest", onUnknownRequest, 'must be "allow" or "deny"');
  for (const [field, value] of Object.entries({ labelsHeader, streamUsage }))
    if (typeof value !== "boolean") throw wrong(field, value, "must be true or false");
  return {
    policy,
    fetch: given.fetch ?? globalThis.fetch,
    isGlobalFetch: given.fetch === undefined,
    labels: labels === undefined || typeof labels === "function" ? labels : readCallLabels(labels),
    provider,
    deniesUnknown: onUnknownRequest === "deny",
    labelsHeader,
    streamUsage,
  };
}

/** Also one of another copy of the package. */
function isPolicy(policy: unknown): boolean {
  return (
    typeof policy === "object" && policy !== null && typeof (policy as Partial<PolicyEngine>).authorize === "function"
  );
}
