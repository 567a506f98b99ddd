import { MemoryLedger, MonthlyBudgetRule, PolicyEngine, type PolicyEngineOptions } from "@driftlock/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectUnharmed, fuzz, outcome, policyOf, prices, sound } from "./fuzz.js";
import { always, hostile, nonsense, oddStrings, Recipe, recordOf, spoiled } from "./hostile.js";

const names = (
  "rules store namespace prices tokenizer clock timeZone defaultLabels track mode reservation defaultMaxOutputTokens " +
  "assumedOutputTokens minOutputTokens clamp waitMs maxWaiters leaseMs maxCallMs onLeaseExpiry unknownModel onStoreFailure " +
  "storeTimeoutMs requireAtomicity maxAccounts onListenerError isUnbilled"
).split(" ");

const budget = () => new MonthlyBudgetRule({ maxUsd: 100 });

/** Either a policy comes of it that works or refuses with a typed error, or the error names one of the fields. */
async function construct(options: unknown, fields: readonly string[]): Promise<void> {
  const made = await outcome(() => new PolicyEngine(options as PolicyEngineOptions));
  if ("error" in made) {
    expect(made.error).toMatchObject({ code: "INVALID_INPUT" });
    expect(
      fields.some((field) => made.error.message.startsWith(field)),
      made.error.message,
    ).toBe(true);
    return;
  }
  const called = await outcome(() => made.value.authorize({ ...sound, waitMs: 0 }));
  if ("value" in called) await called.value.release();
  for (const { heldUsd } of await made.value.usage()) expect(heldUsd).toBe(0);
}

describe("options of a policy", () => {
  it("of any kind are taken, or refused by name", async () => {
    const input = fc.tuple(fc.constantFrom(...names), nonsense);
    await fuzz(1_500, input, ([name, value]) =>
      construct({ rules: [budget()], store: "memory", prices, [name]: value.make() }, [name, "labels"]),
    );
  });

  it("of any kind together are taken, or refused by name", async () => {
    await fuzz(300, hostile({ rules: [budget()], store: "memory", prices }, ...names), (options) =>
      construct(options.make(), [...names, "labels", "options"]),
    );
  });

  it("may name a time zone only if there is one", async () => {
    const zones = fc.oneof(
      fc.constantFrom("Europe/Berlin", "UTC+25", "Etc/GMT+12", "+05:30", "europe/berlin", "Mars/Olympus", "EST5EDT"),
      oddStrings,
    );
    await fuzz(200, zones, (timeZone) =>
      construct({ rules: [budget()], store: "memory", prices, timeZone }, ["timeZone"]),
    );
  });

  it("may set prices of any shape, taken or refused by name", async () => {
    const price = spoiled(
      { inputUsdPerMTok: 1, outputUsdPerMTok: 2 },
      "cacheReadUsdPerMTok",
      "cacheWriteUsdPerMTok",
      "maxOutputTokens",
      "contextWindow",
    );
    const named = fc.tuple(oddStrings, price).map(([name, value]) => value.map((own) => ({ [name]: own })));
    const overrides = fc.oneof(named, recordOf({ flat: price }), nonsense);
    const prices = fc.oneof(recordOf({ overrides }), recordOf({ free: nonsense }), nonsense);
    const input = fc.oneof(recordOf({ prices }), recordOf({ unknownModel: price }));
    await fuzz(500, input, (given) =>
      construct({ rules: [budget()], store: "memory", ...given.make() }, ["prices", "unknownModel"]),
    );
  });

  it("may bring a clock, a tokenizer or a ledger that answers nonsense", async () => {
    const answer = nonsense.map((value) => always(() => value.make()));
    const clock = recordOf({ clock: recordOf({ now: answer, after: fc.constant(always(() => () => {})) }) });
    const tokenizer = recordOf({ tokenizer: recordOf({ count: answer }) });
    const store = answer.map(
      (reserve) => new Recipe(() => ({ store: Object.assign(new MemoryLedger(), { reserve: reserve.make() }) })),
    );
    await fuzz(500, fc.oneof(clock, tokenizer, store), async (given) => {
      const made = await outcome(() => policyOf([budget()], given.make() as Partial<PolicyEngineOptions>));
      if ("error" in made) return;
      const called = await outcome(() => made.value.authorize(sound));
      if ("value" in called) await outcome(() => called.value.settle({ inputTokens: 1, outputTokens: 1 }));
      await outcome(() => made.value.usage());
    });
  });

  it("given as undefined equal options not given", async () => {
    const policy = policyOf([budget()], {
      ...Object.fromEntries(names.map((name) => [name, undefined])),
      store: "memory",
      prices,
    });
    await expectUnharmed(policy);
  });
});
