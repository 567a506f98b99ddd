import { DuplicateCallError, PolicyEngine, type Ledger, type PolicyEngineOptions } from "@driftlock/core";
import { MissionBudgetExceededError, Missions, type Mission } from "@driftlock/missions";
import type { Keyv } from "keyv";

/** Models whose call of 1,000 output tokens costs what their name says, in cents: the bound is the bill. */
const prices = {
  overrides: Object.fromEntries(
    [3, 5, 10].map((cents) => [`c${cents}`, { inputUsdPerMTok: 0, outputUsdPerMTok: cents * 10 }]),
  ),
};

export const LEASE_MS = 200;

export function world(store: Keyv | Ledger, more: Partial<PolicyEngineOptions> = {}) {
  const policy = new PolicyEngine({
    rules: [],
    store,
    prices,
    leaseMs: LEASE_MS,
    storeTimeoutMs: 10_000,
    waitMs: 5_000,
    ...more,
  });
  return { policy, missions: new Missions({ policy }) };
}

type World = ReturnType<typeof world>;

/** Hears of every operation on the ledger, counted from 1, and asks it. */
export function watchOperations(
  { policy: { ledger } }: World,
  heard: (asked: number, ask: () => Promise<unknown>) => Promise<unknown>,
): void {
  let asked = 0;
  for (const operation of ["reserve", "settle", "release", "read", "amend"] as const) {
    const own = ledger[operation].bind(ledger) as (...given: unknown[]) => unknown;
    ledger[operation] = (...given: unknown[]) => heard(++asked, () => Promise.resolve(own(...given))) as never;
  }
}

/** A run with nested missions, slices, parallel calls and interventions, as steps that can each be done again after a crash. */
export const steps: readonly ((world: World) => Promise<unknown>)[] = [
  (w) => root(w, () => Promise.resolve()),
  (w) => root(w, () => call(w, "one", "c10")),
  (w) => root(w, () => a(w, () => Promise.resolve())),
  (w) => root(w, () => a(w, () => call(w, "a1", "c10"))),
  (w) => root(w, () => a(w, () => Promise.all([call(w, "a2", "c5"), call(w, "a3", "c5")]))),
  (w) => root(w, () => Promise.all(["p1", "p2", "p3"].map((id) => call(w, id, "c5")))),
  (w) => root(w, () => a(w, (m) => m.end())),
  (w) => root(w, () => b(w, () => call(w, "b1", "c10"))),
  (w) => root(w, () => b(w, () => call(w, "b2", "c10"))),
  (w) => w.missions.raise("root", { addUsd: 0.05, by: "ada", approvalId: "once" }),
  (w) => root(w, () => call(w, "two", "c10")),
  (w) => root(w, () => call(w, "three", "c10")),
  (w) => w.missions.kill("root", { by: "ops", reason: "enough" }),
  (w) => root(w, () => call(w, "after", "c3")),
];

const ifExists = "attach" as const;

async function joined(world: World, options: Parameters<Missions["start"]>[0], run: (m: Mission) => Promise<unknown>) {
  const m = await world.missions.start({ ...options, ifExists });
  await m.within(() => run(m));
}

function root(world: World, run: (m: Mission) => Promise<unknown>) {
  return joined(
    world,
    { name: "root", missionId: "root", budgetUsd: 0.7, onExceed: "downgrade", downgradeTo: "c3" },
    run,
  );
}

function a(world: World, run: (m: Mission) => Promise<unknown>) {
  return joined(world, { name: "a", missionId: "a", budgetUsd: 0.3, slice: { usd: 0.25 } }, run);
}

function b(world: World, run: (m: Mission) => Promise<unknown>) {
  return joined(world, { name: "b", missionId: "b", budgetUsd: 0.1 }, run);
}

/** A call under its own id: after a crash nobody knows whether it was under way, so it is asked for again. */
async function call({ policy }: World, id: string, model: string): Promise<void> {
  try {
    const auth = await policy.authorize({ id, model, inputTokens: 0, maxOutputTokens: 1_000 });
    await auth.settle({ inputTokens: 0, outputTokens: 1_000 });
  } catch (error) {
    if (DuplicateCallError.find(error) === undefined && MissionBudgetExceededError.find(error) === undefined)
      throw error;
  }
}

/** What stands in the end. Waits until the leases of calls that nobody closed are over. */
export async function outcome(world: World) {
  const held = async () =>
    (await Promise.all(["root", "a", "b"].map((id) => world.missions.stats(id)))).map((s) => s.heldUsd);
  for (let look = 0; look < 100 && (await held()).some((usd) => usd > 0); look++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const all = await Promise.all(["root", "a", "b"].map((id) => world.missions.stats(id)));
  return all.map((stats) => ({
    id: stats.id,
    status: stats.status,
    parent: stats.parent,
    budgetUsd: stats.budgetUsd,
    totalCostUsd: stats.totalCostUsd,
    directSpendUsd: stats.directSpendUsd,
    nestedSpendUsd: stats.nestedSpendUsd,
    heldUsd: stats.heldUsd,
    calls: stats.calls,
    interventions: stats.interventions.map(({ action, by }) => (by === undefined ? action : `${action} by ${by}`)),
  }));
}
