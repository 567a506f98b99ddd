import { PolicyViolationError, RuleDecision, type Claim, type Metadata, type Rule } from "@driftlock/core";

/** Refusals of such rules: they bind one agent, not what called it. */
const refusals = new WeakSet<PolicyViolationError>();

export interface CallLimitFields {
  /** "RunLimit", "ToolRunLimit[search]", … */
  readonly name: string;
  /** Whose calls are counted: an account of its own in the ledger. */
  readonly account: string;
  readonly limit: number;
}

/** At most `limit` calls, ever, of what counts in `account`. */
export function callLimitRule({ name, account, limit }: CallLimitFields): Rule {
  const claim: Claim = {
    scope: { label: "driftlock_calls", value: account },
    measure: "calls",
    window: { kind: "lifetime" },
    limit,
  };
  const decision = RuleDecision.claim(claim);
  const metadata: Metadata = { maxCalls: limit };
  return {
    name,
    evaluate: () => decision,
    explain: (_context, { settled, held }) => ({ ...metadata, count: settled + held }),
    violation(details) {
      const refusal = new PolicyViolationError(details);
      refusals.add(refusal);
      return refusal;
    },
  };
}

export function isCallLimit(refusal: PolicyViolationError): boolean {
  return refusals.has(refusal);
}
