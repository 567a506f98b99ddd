import { withAmbient } from "../ambient/ambient.js";
import type { Authorization } from "../call/authorization.js";
import type { GovernedRequest } from "../domain/request.js";
import type { PolicyEngine } from "../engine.js";
import { ConfigError } from "../errors/config-error.js";
import { DriftlockError } from "../errors/driftlock-error.js";
import { PolicyViolationError } from "../errors/policy-violation-error.js";
import { familyOf } from "../pricing/prompt-media.js";
import { labelsOf } from "./labels.js";
import { observed } from "./observe.js";
import { resolveFetchOptions, type Fetch, type GovernFetchOptions, type ResolvedFetchOptions } from "./options.js";
import type { Json } from "./protocols/protocol.js";
import { providerAt } from "./provider.js";
import { refusal } from "./refusal.js";
import { ClientRequest } from "./request.js";
import { routeOf, withDeployment, type Route } from "./route.js";

/** The policy of every governed fetch: one that is governed twice would be charged twice. */
const policies = new WeakMap<Fetch, PolicyEngine>();

/**
 * A `fetch` under a policy, for every client that takes one: `new OpenAI({ fetch: governFetch(policy) })`. Chat completions,
 * Responses, embeddings and Anthropic's messages are judged before they are sent, carry the model and the maximum the policy
 * granted, and settle when their body ends. Each attempt of a client that retries is a call of its own.
 *
 * A refusal is a response, 402 with the error's code and message, because clients retry what is thrown;
 * `PolicyViolationError.find(error)` finds ours in the error the client makes of it.
 * @throws ConfigError naming the option and its value.
 */
export function governFetch(policy: PolicyEngine, options: GovernFetchOptions = {}): Fetch {
  const resolved = resolveFetchOptions(policy, options);
  if (policies.get(resolved.fetch) === policy) {
    const problem = "is already governed by this policy: each call would be charged twice";
    throw new ConfigError({ field: "fetch", value: resolved.fetch, problem });
  }
  const governed: Fetch = (input, init) => send(resolved, new ClientRequest(input, init));
  policies.set(governed, policy);
  return governed;
}

async function send(options: ResolvedFetchOptions, request: ClientRequest): Promise<Response> {
  const { fetch, deniesUnknown } = options;
  const route = routeOf(request.address, request.method);
  if (route !== undefined) return call(options, request, route);
  return deniesUnknown ? refusal(unknownRequest(request)) : fetch(...request.untouched());
}

async function call(options: ResolvedFetchOptions, request: ClientRequest, route: Route): Promise<Response> {
  const { protocol, url, deployment } = route;
  const { signal } = request;
  let auth: Authorization;
  let body: Json;
  let rewritable: RequestInit;
  const provider = options.provider ?? providerAt(url);
  try {
    rewritable = request.rewritable();
    body = await request.json();
    const governed = await governedRequest(options, request, route, body, provider);
    auth = await options.policy.authorize(signal === undefined ? governed : { ...governed, signal });
  } catch (error) {
    // An abort, or a mistake of ours: thrown as it is. Nothing was sent.
    if (!DriftlockError.isInstance(error)) throw error;
    return refusal(error, protocol);
  }
  const { model } = auth.request;
  const isOpenAI =
    provider === undefined ? familyOf(model) === "openai" : provider === "openai" || provider === "azure";
  // OpenRouter tells the usage of every stream, asked or not.
  const asksUsage = options.streamUsage && provider !== "openrouter" && protocol.hidesUsage(body);
  const address = deployment === undefined || deployment === model ? request.address : withDeployment(url, model);
  let init: RequestInit;
  try {
    init = { ...rewritable, body: JSON.stringify(protocol.write(body, auth.request, { isOpenAI, asksUsage })) };
  } catch (cause) {
    // Nested deeper than can be written, in a field that is not counted.
    await auth.release();
    const problem = "cannot be written as JSON again";
    return refusal(new ConfigError({ field: "body", value: undefined, problem, cause }), protocol);
  }
  let response: Response;
  try {
    const dispatch = () => options.fetch(address, init);
    // A governed call that a fetch of the application's makes must not wait for this one.
    response = await (options.isGlobalFetch && !policies.has(options.fetch)
      ? dispatch()
      : withAmbient({ insideCall: true }, dispatch));
  } catch (error) {
    if (options.isGlobalFetch && !isSendable(address, init)) await auth.release();
    else await auth.fail(error);
    throw error;
  }
  if (!response.ok) {
    const { status, headers } = response;
    await auth.fail(Object.assign(new Error(`The provider answered ${status}`), { status, headers }));
    return response;
  }
  const isStream = body["stream"] === true;
  return observed(response, { auth, protocol, isStream, asksUsage, pricesByAnswer: deployment === undefined });
}

/** Whether `fetch` itself could have sent it: what it refuses by its address or its init never left. */
function isSendable(address: string, init: RequestInit): boolean {
  try {
    new Request(address, init);
    return true;
  } catch {
    return false;
  }
}

/** What the policy judges. */
async function governedRequest(
  { labels, labelsHeader }: ResolvedFetchOptions,
  { address, headers }: ClientRequest,
  { protocol, deployment }: Route,
  body: Json,
  provider: string | undefined,
): Promise<GovernedRequest> {
  refuseFallbacks(body);
  // A model that is no name is refused by the policy.
  const model = deployment ?? (body["model"] as string);
  const { endpoint } = protocol;
  const own = await labelsOf(labels, labelsHeader, headers, { url: address, endpoint, model, body });
  return { ...protocol.read(body), model, labels: own, endpoint, provider };
}

/** OpenRouter answers with any of `models`; the policy judges one. */
function refuseFallbacks({ model, models }: Json): void {
  if (models === undefined || models === null || (Array.isArray(models) && models.every((name) => name === model)))
    return;
  const problem = "would let the provider choose a model that the policy has not judged; send one model";
  throw new ConfigError({ field: "models", value: models, problem });
}

function unknownRequest({ method, address }: ClientRequest): PolicyViolationError {
  const path = URL.canParse(address) ? new URL(address).pathname : "";
  const reason = "the request is none of the model calls that can be governed";
  return new PolicyViolationError({
    ruleName: "governFetch",
    decision: { allow: false, action: "block", metadata: { reason, method, path } },
  });
}
