import { readLabels } from "../ambient/ambient.js";
import { mergeLabels, type Labels } from "../domain/labels.js";
import { ConfigError } from "../errors/config-error.js";
import { DriftlockError, messageOf } from "../errors/driftlock-error.js";

/** The header that carries labels where `labelsHeader` is on: `user_id=ada&team=search`, URL-encoded. Never sent on. */
export const LABELS_HEADER = "x-driftlock-labels";

/** Labels of a call. One that is `undefined` is not given: `{ user_id: body.user }`. */
export type CallLabels = Readonly<Record<string, string | undefined>>;

/** A call as `labels` sees it. */
export interface FetchRequest {
  readonly url: string;
  readonly headers: Headers;
  /** `/chat/completions`, `/responses`, `/embeddings` or `/messages`. */
  readonly endpoint: string;
  readonly model: string;
  /** As the client wrote it: `body.user`, `body.metadata`, … */
  readonly body: Readonly<Record<string, unknown>>;
}

export type LabelsOption =
  | CallLabels
  | ((request: FetchRequest) => CallLabels | undefined | Promise<CallLabels | undefined>);

/** The given labels as data of their own. Throws `ConfigError` unless they are sound. */
export function readCallLabels(given: unknown): Labels {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return readLabels(given);
  return readLabels(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)));
}

/** The labels of one call. What the application says wins over the header, which the caller of a proxy may have set. */
export async function labelsOf(
  option: Labels | Exclude<LabelsOption, CallLabels> | undefined,
  fromHeader: boolean,
  headers: () => Headers,
  request: Omit<FetchRequest, "headers">,
): Promise<Labels | undefined> {
  const header = fromHeader ? headers().get(LABELS_HEADER) : null;
  const carried = header === null ? undefined : readHeader(header);
  if (typeof option !== "function") return carried === undefined ? option : mergeLabels(carried, option);
  const given = await asked(option, { ...request, headers: headers() });
  const own = given === undefined ? undefined : readCallLabels(given);
  return carried === undefined ? own : mergeLabels(carried, own);
}

/** A function that throws gives no labels: the call is refused, not sent as nobody's. */
async function asked(
  option: Exclude<LabelsOption, CallLabels>,
  request: FetchRequest,
): Promise<CallLabels | undefined> {
  try {
    return await option(request);
  } catch (cause) {
    if (DriftlockError.isInstance(cause)) throw cause;
    throw new ConfigError({ field: "labels", value: "a function", problem: `threw: ${messageOf(cause)}`, cause });
  }
}

function readHeader(header: string): Labels {
  const pairs = [...new URLSearchParams(header)];
  const names = new Set(pairs.map(([name]) => name));
  if (header.trim() === "" || names.size < pairs.length) {
    const problem = "must hold each label once: user_id=ada&team=search, URL-encoded";
    throw new ConfigError({ field: LABELS_HEADER, value: header, problem });
  }
  return readLabels(Object.fromEntries(pairs));
}
