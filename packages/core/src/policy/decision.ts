import type { Claim } from "../domain/claim.js";

export type Metadata = Readonly<Record<string, unknown>>;

const empty: Metadata = Object.freeze({});

/** A rule's answer about one call: allow, block or downgrade, perhaps with claims ("allow, if this fits"). Immutable. */
export class RuleDecision {
  readonly allow: boolean;
  readonly action: "block" | "downgrade" | null;
  readonly metadata: Metadata;
  readonly claims: readonly Claim[];

  constructor(fields: {
    allow: boolean;
    action?: "block" | "downgrade" | null;
    metadata?: Metadata;
    claims?: readonly Claim[];
  }) {
    this.allow = fields.allow;
    this.action = fields.action ?? (fields.allow ? null : "block");
    this.metadata = fields.metadata ?? empty;
    this.claims = fields.claims ?? [];
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
    return new RuleDecision({
      allow: this.allow,
      action: this.action,
      metadata: this.metadata,
      claims: [...this.claims, ...claims],
    });
  }
}

const allowed = new RuleDecision({ allow: true });
