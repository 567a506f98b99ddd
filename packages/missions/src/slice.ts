import type { Hold, MeterClaim, PolicyExtension, Reserved } from "@driftlock/core";
import { missionScope, usd } from "./accounts.js";
import type { Life } from "./life.js";

/**
 * Sets money aside for a mission on the accounts of all missions around it, so that their other calls cannot take it. What
 * encloses the parent's own slice is used first.
 */
export async function reserveSlice(
  extension: PolicyExtension,
  id: string,
  parent: Life,
  nano: number,
): Promise<Reserved> {
  const claims: MeterClaim[] = [];
  let drawFrom: Hold | undefined;
  for (let around: Life | undefined = parent; around !== undefined; around = around.parent) {
    const meter = extension.meter(usd(missionScope(around.id), "stored"));
    claims.push({ meter, limit: "stored", fixed: nano, perToken: 0, scale: 1 });
    drawFrom ??= around.state.slice;
  }
  const request = {
    id: `slice ${id} ${crypto.randomUUID()}`,
    claims,
    floor: 0,
    want: 0,
    take: "want",
    drawFrom,
  } as const;
  // A process that dies gives the money back to the missions around.
  const lease = { ms: extension.leaseMs, onExpiry: "release" } as const;
  return extension.ask("reserve", (ledger) => ledger.reserve({ ...request, lease }));
}

/** Keeps a slice while this process has the mission; the answer stops it. */
export function keepSlice(extension: PolicyExtension, slice: Hold): () => void {
  const { clock, leaseMs } = extension;
  let cancel: () => void;
  const renew = async () => {
    try {
      await extension.ask("renew", (ledger) => ledger.renew([slice], leaseMs));
    } catch {
      // Told as `store-failed`; the next round tries again, until then the lease runs.
    }
  };
  const round = () => {
    void renew();
    cancel = clock.after(leaseMs / 3, round);
  };
  cancel = clock.after(leaseMs / 3, round);
  return () => cancel();
}
