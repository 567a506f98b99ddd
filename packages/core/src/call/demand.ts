import type { Claim, Shortfall } from "../domain/claim.js";
import { USER_LABEL } from "../domain/labels.js";
import { accountOf, CONTROL } from "../ledger/account.js";
import type { Meter, MeterClaim, ReserveRequest, Shortage } from "../ledger/ledger.js";
import type { OwnedClaim } from "../policy/decide.js";
import { isFree } from "../pricing/price.js";
import type { Call } from "./call.js";
import type { CallCandidate } from "./candidate.js";
import { shortfallOf } from "./claims.js";
import type { Parts } from "./parts.js";

/** The day series the engine always keeps, so that a rule added mid-month sees the month. */
const WORKSPACE_DAYS: Claim = {
  scope: "workspace",
  measure: "usd",
  window: { kind: "days", days: 1 },
  limit: Infinity,
};
const USER_DAYS: Claim = { ...WORKSPACE_DAYS, scope: "user" };

/** Windows whose thresholds are told: those that turn over as a whole. */
const TURNING: ReadonlySet<string> = new Set(["calendar", "lifetime"]);

/** A call that is free by price is under no money limit. A bill that comes all the same is counted. */
function isFreeOfCharge({ request }: Call, { sizing: { price } }: CallCandidate): boolean {
  return price === undefined ? request.costUsd === 0 : isFree(price);
}

/** What one call asks of the ledger, and which rule answers for which claim. */
export class Demand {
  readonly claims: readonly MeterClaim[];
  readonly #owned: readonly (OwnedClaim | undefined)[];

  private constructor(claims: readonly MeterClaim[], owned: readonly (OwnedClaim | undefined)[]) {
    this.claims = claims;
    this.#owned = owned;
  }

  /** The rules' claims on the accounts of this call, and the series that are kept in any case. */
  static of(
    parts: Parts,
    call: Call,
    candidate: CallCandidate,
    rulesClaims: readonly OwnedClaim[],
    free = isFreeOfCharge(call, candidate),
  ): Demand {
    const { compiler, control, options } = parts;
    const { labels } = call;
    const claims: MeterClaim[] = [];
    const owned: (OwnedClaim | undefined)[] = [];
    const { now } = candidate.context;

    const add = (claim: Claim, by: OwnedClaim | undefined) => {
      const account = accountOf(claim.scope, labels);
      if (account === undefined || claim.window === "request") return;
      const added = by === undefined || claim.measure !== "usd" ? 0 : control.addedTo(by.owner.rule.name, labels, now);
      const claimed = compiler.meterClaim(claim, account, candidate, added, by?.owner.shadow ?? false);
      claims.push(free && claim.measure === "usd" ? { ...claimed, limit: Infinity } : claimed);
      owned.push(by);
    };
    for (const by of rulesClaims) add(by.claim, by);
    add(WORKSPACE_DAYS, undefined);
    if (labels[USER_LABEL] !== undefined) add(USER_DAYS, undefined);
    for (const label of options.track) add({ ...WORKSPACE_DAYS, scope: { label } }, undefined);
    return new Demand(claims, owned);
  }

  reserveRequest(parts: Parts, call: Call, candidate: CallCandidate, take: "want" | "largest"): ReserveRequest {
    const { options, clock, control } = parts;
    return {
      id: call.id,
      claims: this.claims,
      floor: Math.min(candidate.floor, candidate.want),
      want: candidate.want,
      take,
      lease: { ms: options.leaseMs, onExpiry: options.onLeaseExpiry },
      named: call.named,
      notAfter: clock.now() + options.storeTimeoutMs,
      seen: { account: CONTROL, version: control.version },
      maxAccounts: options.mode === "shadow" ? undefined : options.maxAccounts,
    };
  }

  /** The meters of the rules' claims, without the series that are kept in any case. */
  rules(): readonly Meter[] {
    return this.claims.filter((_, i) => this.#owned[i] !== undefined).map(({ meter }) => meter);
  }

  ownerOf(shortage: Shortage): OwnedClaim {
    return this.#owned[shortage.claim]!;
  }

  meterOf(shortage: Shortage): Meter {
    return this.claims[shortage.claim]!.meter;
  }

  /** The rule that limits this meter. */
  ruleAt(meter: Meter): string {
    const index = this.claims.findIndex((claim) => claim.meter === meter);
    return this.#owned[index]?.owner.rule.name ?? "";
  }

  shortfall(shortage: Shortage, now: number): Shortfall {
    return shortfallOf(this.ownerOf(shortage).claim, this.claims[shortage.claim]!, shortage, now);
  }

  /** Meters on which the call can be refused. */
  *limited(): Iterable<Meter> {
    for (const claim of this.claims) if (claim.limit !== Infinity && !claim.shadow) yield claim.meter;
  }

  /** Claims whose meters somebody wants to see after the close: rules with `onClosed`, and limits whose thresholds are told. */
  watched(thresholds: boolean): readonly { readonly by: OwnedClaim; readonly claim: MeterClaim }[] {
    const watched: { by: OwnedClaim; claim: MeterClaim }[] = [];
    this.#owned.forEach((by, i) => {
      const claim = this.claims[i]!;
      if (by === undefined) return;
      const { measure, window } = claim.meter;
      const told =
        thresholds &&
        measure === "usd" &&
        typeof claim.limit === "number" &&
        claim.limit !== Infinity &&
        TURNING.has(window.kind);
      if (told || by.owner.rule.onClosed !== undefined) watched.push({ by, claim });
    });
    return watched;
  }
}
