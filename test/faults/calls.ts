import type { Ledger, Meter } from "@driftlock/core";
import { claimOf, meterOf } from "@driftlock/core/testing";

/** Three accounts that every call claims alike: in a whole commit they can never differ. */
export const money: readonly Meter[] = [
  meterOf("workspace", "usd", { kind: "lifetime" }),
  meterOf("label:user_id:ada", "usd", { kind: "calendar", unit: "month" }),
  meterOf("label:team:red", "usd", { kind: "lifetime" }),
];

/** What a call holds, and at most costs. */
export const BOUND = 100;

export const claims = money.map((meter) => claimOf(meter, 1e12, BOUND));

export const lease = { ms: 3_600_000, onExpiry: "charge" } as const;

/** What the accounts show; throws when they do not show the same. */
export async function agreed(ledger: Ledger): Promise<{ settled: number; held: number }> {
  const [first, ...others] = await ledger.read(money);
  const { settled, held } = first!;
  for (const other of others) {
    if (other.settled !== settled || other.held !== held) {
      throw new Error(`a torn commit: ${JSON.stringify([first, ...others])}`);
    }
  }
  return { settled, held };
}
