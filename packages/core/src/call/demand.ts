import type { Claim, Shortfall } from "../domain/claim.js";
import { USER_LABEL } from "../domain/labels.js";
import type { AccountState, Hold, Meter, MeterClaim, ReserveRequest, SeenState, Shortage } from "../ledger/ledger.js";
import type { OwnedClaim, PlacedRule } from "../policy/decide.js";
import { atOnce } from "../policy/options.js";
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
  /** The slice the call may use. */
  readonly drawFrom: Hold | undefined;
  readonly #owned: readonly (OwnedClaim | undefined)[];
  /** The states the rules decided by. */
  readonly #seen: readonly SeenState[];

  private constructor(
    claims: readonly MeterClaim[],
    owned: readonly (OwnedClaim | undefined)[],
    seen: readonly SeenState[],
    drawFrom: Hold | undefined,
  ) {
    this.claims = claims;
    this.#owned = owned;
    this.#seen = seen;
    this.drawFrom = drawFrom;
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
    let seen: SeenState[] | undefined;
    let drawFrom: Hold | undefined;
    const { now } = candidate.context;

    const add = (claim: Claim, by: OwnedClaim | undefined) => {
      if (claim.window === "request") return;
      const meter = compiler.meterFor(claim, labels);
      if (meter === undefined) return;
      const added = by === undefined || claim.measure !== "usd" ? 0 : control.addedTo(by.owner.rule.name, labels, now);
      const claimed = compiler.meterClaim(claim, meter, candidate, added, by?.owner.shadow ?? false);
      claims.push(free && claim.measure === "usd" ? { ...claimed, limit: Infinity } : claimed);
      owned.push(by);
      // In shadow a rule decides nothing, so nothing depends on what it knew.
      if (by === undefined || by.owner.shadow) return;
      if (claim.seen !== undefined) (seen ??= [control.seen]).push({ account: meter.account, version: claim.seen });
      if (claim.drawFrom !== undefined) drawFrom = claim.drawFrom;
    };
    for (const by of rulesClaims) add(by.claim, by);
    add(WORKSPACE_DAYS, undefined);
    if (labels[USER_LABEL] !== undefined) add(USER_DAYS, undefined);
    for (const label of options.track) add({ ...WORKSPACE_DAYS, scope: { label } }, undefined);
    return new Demand(claims, owned, seen ?? control.alone, drawFrom);
  }

  reserveRequest(parts: Parts, call: Call, candidate: CallCandidate, take: "want" | "largest"): ReserveRequest {
    const { options, clock } = parts;
    const request: ReserveRequest = {
      id: call.id,
      claims: this.claims,
      floor: Math.min(candidate.floor, candidate.want),
      want: candidate.want,
      take,
      lease: { ms: options.leaseMs, onExpiry: options.onLeaseExpiry },
      named: call.named,
      attempt: call.attempt,
      notAfter: clock.now() + options.storeTimeoutMs,
      seen: this.#seen,
      maxAccounts: options.mode === "shadow" ? undefined : options.maxAccounts,
    };
    return this.drawFrom === undefined ? request : Object.assign(request, { drawFrom: this.drawFrom });
  }

  /** Tells the rules that decided by an older state of the account. The owners of what could not be told, with why. */
  learn(account: string, state: AccountState): { readonly owner: PlacedRule; readonly cause: unknown } | undefined {
    for (const [i, by] of this.#owned.entries()) {
      if (by?.claim.seen === undefined || this.claims[i]!.meter.account !== account) continue;
      const { rule } = by.owner;
      try {
        if (rule.onStale === undefined) throw new TypeError("a rule whose claims say what it has seen needs onStale");
        atOnce(`${rule.name}.onStale`, rule.onStale(by.claim, state));
      } catch (cause) {
        return { owner: by.owner, cause };
      }
    }
    return undefined;
  }

  /** The meters of the rules' claims, without the series that are kept in any case. */
  rules(): readonly Meter[] {
    return this.claims.filter((_, i) => this.#owned[i] !== undefined).map(({ meter }) => meter);
  }

  /** The rule that decided by this account's state. */
  ownerAt(account: string): PlacedRule | undefined {
    return this.#owned.find((by, i) => by?.claim.seen !== undefined && this.claims[i]!.meter.account === account)
      ?.owner;
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
