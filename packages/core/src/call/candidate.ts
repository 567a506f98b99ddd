import type { Claim, Shortfall } from "../domain/claim.js";
import type { Context, Estimate } from "../domain/context.js";
import { NANO, PICO_PER_NANO, toNano, toUsd } from "../domain/money.js";
import type { PlacedRule } from "../policy/decide.js";
import type { Sizing } from "./sizing.js";
import type { ClaimCompiler, Need } from "./claims.js";

/**
 * One call with one model: what the rules see, and its size. Output is granted in [floor, want]; a claim on the request
 * lowers `want` where the call may be lowered at all.
 */
export class CallCandidate implements Need {
  readonly context: Context;
  readonly sizing: Sizing;
  readonly usd: { readonly fixed: number; readonly perToken: number };
  readonly tokens: { readonly fixed: number; readonly perToken: number };
  readonly floor: number;
  want: number;
  readonly #compiler: ClaimCompiler;
  readonly #addedTo: (ruleName: string) => number;

  /** @param addedTo nano-USD that operators added to a rule's limit for this call. */
  constructor(
    sizing: Sizing,
    compiler: ClaimCompiler,
    context: (estimate: Estimate) => Context,
    addedTo: (ruleName: string) => number,
  ) {
    this.sizing = sizing;
    this.usd = sizing.usd;
    this.tokens = sizing.tokens;
    this.floor = sizing.floor;
    this.want = sizing.want;
    this.#compiler = compiler;
    this.#addedTo = addedTo;
    this.context = context(new CandidateEstimate(this));
  }

  /** The worst case in nano-USD with n output tokens granted. */
  boundNano(n: number): number {
    return Math.ceil((this.usd.fixed + this.usd.perToken * n) / PICO_PER_NANO);
  }

  fit(claim: Claim, { rule, shadow }: PlacedRule): Shortfall | undefined {
    this.#compiler.check(claim);
    if (claim.window !== "request" || claim.limit === "stored") return undefined;
    const isMoney = claim.measure === "usd";
    if (!isMoney && claim.measure !== "tokens") return undefined;
    const { fixed, perToken } = isMoney ? this.usd : this.tokens;
    const allowed = isMoney ? Math.max(0, claim.limit + toUsd(this.#addedTo(rule.name))) : claim.limit;
    const limit = isMoney ? toNano(allowed) * PICO_PER_NANO : allowed;
    if (fixed + perToken * this.want <= limit) return undefined;
    const most = perToken === 0 ? -1 : Math.floor((limit - fixed) / perToken);
    if (most >= this.floor) {
      if (!shadow) this.want = most;
      return undefined;
    }
    const unit = isMoney ? NANO : 1;
    const needed = isMoney ? this.boundNano(this.want) / unit : fixed + perToken * this.want;
    return { claim, limit: allowed, settled: 0, held: 0, needed, available: allowed, waitable: false };
  }
}

/** Computed when a rule looks: most rules only claim. */
class CandidateEstimate implements Estimate {
  readonly #candidate: CallCandidate;

  constructor(candidate: CallCandidate) {
    this.#candidate = candidate;
  }
  get inputTokens(): number {
    return this.#candidate.sizing.inputTokens;
  }
  get maxOutputTokens(): number {
    return this.#candidate.want;
  }
  get costUsd(): number {
    return toUsd(this.#candidate.boundNano(this.#candidate.want));
  }
}
