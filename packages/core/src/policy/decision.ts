import type { Claim } from "../domain/claim.js";

export type Metadata = Readonly<Record<string, unknown>>;

const empty: Metadata = Object.freeze({});

/** Waits for what a block is waiting for; ends early when the call is aborted. Rejecting refuses the call with that error. */
export type Until = (signal: AbortSignal | undefined) => Promise<unknown>;

/** A rule's answer about one call: allow, block or downgrade, perhaps with claims ("allow, if this fits"). Immutable. */
export class RuleDecision {
  readonly allow: boolean;
  readonly action: "block" | "downgrade" | null;
  readonly metadata: Metadata;
  /** Of a block: what is counted where nothing is refused (in shadow, and for spend that is only recorded). */
  readonly claims: readonly Claim[];
  /**
   * Of a block that will pass: the call waits for it and is judged again. For decisions that are on their way, not for room:
   * that is what claims wait for. A dry run does not wait.
   */
  readonly until?: Until;

  constructor(fields: {
    allow: boolean;
    action?: "block" | "downgrade" | null;
    metadata?: Metadata;
    claims?: readonly Claim[];
    until?: Until | undefined;
  }) {
    this.allow = fields.allow;
    this.action = fields.action ?? (fields.allow ? null : "block");
    this.metadata = fields.metadata ?? empty;
    this.claims = fields.claims ?? [];
    if (fields.until !== undefined) this.until = fields.until;
  }

  static allow(metadata?: Metadata): RuleDecision {
    return metadata === undefined ? allowed : new RuleDecision({ allow: true, metadata });
  }

  static block(metadata: Metadata = empty): RuleDecision {
    return new RuleDecision({ allow: false, action: "block", metadata });
  }

  /** Let the call go to another model. The caller is not told. */
  static downgrade(model: string, metadata: Metadata = empty): RuleDecision {
    return new RuleDecision({ allow: true, action: "downgrade", metadata: { ...metadata, downgradeTo: model } });
  }

  static claim(...claims: readonly Claim[]): RuleDecision {
    return new RuleDecision({ allow: true, claims });
  }

  /** The same decision with further claims. */
  claim(...claims: readonly Claim[]): RuleDecision {
    const { allow, action, metadata, until } = this;
    return new RuleDecision({ allow, action, metadata, claims: [...this.claims, ...claims], until });
  }

  /** The same block, for as long as `until` waits. */
  waiting(until: Until): RuleDecision {
    const { allow, action, metadata, claims } = this;
    return new RuleDecision({ allow, action, metadata, claims, until });
  }
}

const allowed = new RuleDecision({ allow: true });
