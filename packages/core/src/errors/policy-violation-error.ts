import { DriftlockError } from "./driftlock-error.js";

/** What a violation shows of the decision behind it. */
export interface ViolationDecision {
  readonly allow: boolean;
  readonly action: "block" | "downgrade" | null;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface ViolationDetails {
  readonly ruleName: string;
  readonly decision: ViolationDecision;
  readonly message?: string | undefined;
  /** What the call needed where it did not fit, as a sentence's end: "$0.12 at worst". */
  readonly needs?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** A rule refused the call: nothing was sent, nothing is held. */
export class PolicyViolationError extends DriftlockError {
  static override readonly kind: string = "PolicyViolationError";
  readonly code: string = "POLICY_VIOLATION";
  readonly ruleName: string;
  readonly decision: ViolationDecision;
  /** ms until the same call may pass, when the window's turn alone decides. */
  readonly retryAfterMs?: number;
  /** 402: hosts (LangChain, LangGraph, the OpenAI SDK) do not retry it. */
  readonly status = 402;

  constructor(details: ViolationDetails) {
    super(details.message ?? describe(details), { cause: details.cause });
    this.ruleName = details.ruleName;
    this.decision = details.decision;
    if (details.retryAfterMs !== undefined) this.retryAfterMs = details.retryAfterMs;
  }

  /** The status for your own HTTP response: 429 when waiting helps, else 402. */
  get httpStatus(): number {
    return this.retryAfterMs === undefined ? 402 : 429;
  }
}

/** A velocity breaker is open. */
export class CircuitOpenError extends PolicyViolationError {
  static override readonly kind: string = "CircuitOpenError";
  override readonly code = "CIRCUIT_OPEN";
}

/** No price is known for the model, so its cost cannot be bounded. */
export class UnknownModelError extends PolicyViolationError {
  static override readonly kind: string = "UnknownModelError";
  override readonly code = "UNKNOWN_MODEL";
  readonly model: string;

  constructor(model: string, provider: string | undefined) {
    const shown = JSON.stringify(model.slice(0, 120));
    super({
      ruleName: "UnknownModel",
      decision: { allow: false, action: "block", metadata: { model, ...(provider === undefined ? {} : { provider }) } },
      message:
        `No price is known for the model ${shown}${provider === undefined ? "" : ` of ${provider}`}, so the call was refused. Add its price (USD per million tokens): ` +
        `prices: { overrides: { ${shown}: { inputUsdPerMTok: 0, outputUsdPerMTok: 0 } } } with the real numbers, ` +
        `or name a free provider: prices: { free: ["ollama"] }.`,
    });
    this.model = model;
  }
}

/** The most that a message says of a rule's metadata, in characters. */
const MAX_FACTS = 1_000;

function describe({ ruleName, decision, retryAfterMs, needs }: ViolationDetails): string {
  const facts = factsOf(decision.metadata).slice(0, MAX_FACTS);
  const retry = retryAfterMs === undefined ? "" : ` Room again in ${Math.ceil(retryAfterMs / 1000)} s.`;
  const need = needs === undefined ? "" : ` The call needs ${needs}.`;
  return `Blocked by ${ruleName}${facts === "" ? "" : `: ${facts}`}.${need}${retry}`;
}

function factsOf(metadata: ViolationDecision["metadata"]): string {
  try {
    return Object.entries(metadata)
      .filter(([, value]) => value !== undefined && typeof value !== "object")
      .map(([key, value]) => `${key} ${typeof value === "number" ? Number(value.toPrecision(12)) : String(value)}`)
      .join(", ");
  } catch {
    // Metadata of a custom rule that cannot be read: the refusal stands without it.
    return "";
  }
}
