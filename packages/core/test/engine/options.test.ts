import { Keyv } from "keyv";
import { afterEach, describe, expect, it, vi } from "vitest";
import { PolicyEngine } from "../../src/engine.js";
import { MemoryLedger } from "../../src/ledger/memory.js";
import type { PolicyEngineOptions } from "../../src/options.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { VelocityLimitRule } from "../../src/policy/rules/velocity-limit.js";
import { bench, costing, failure, refusal, spend } from "./kit.js";

const budget = () => new MonthlyBudgetRule({ maxUsd: 1 });

describe("options that cannot be used are refused at construction, by name and value:", () => {
  const bad: [string, unknown, string?][] = [
    ["rules", undefined],
    ["rules", {}],
    ["rules", new MonthlyBudgetRule({ maxUsd: 1 })],
    ["rules", [undefined], "rules[0]"],
    ["store", "none"],
    ["store", "Memory"],
    ["store", ""],
    ["store", null],
    ["store", 7],
    ["store", {}],
    ["store", new Date()],
    ["namespace", ""],
    ["namespace", 7],
    ["namespace", "n".repeat(129)],
    ["prices", null],
    ["prices", 7],
    [
      "prices",
      { overrides: { flat: { inputUsdPerMTok: -1, outputUsdPerMTok: 1 } } },
      "prices.overrides['flat'].inputUsdPerMTok",
    ],
    ["tokenizer", () => 1],
    ["tokenizer", null],
    ["clock", { now: Date.now }],
    ["timeZone", "Mars/Olympus"],
    ["timeZone", ""],
    ["timeZone", 7],
    ["defaultLabels", { user_id: 7 }, "labels.user_id"],
    ["defaultLabels", "ada", "labels"],
    ["track", "team"],
    ["track", [""]],
    ["track", [7]],
    ["track", Array(1)],
    ["mode", "off"],
    ["mode", true],
    ["reservation", "none"],
    ["defaultMaxOutputTokens", 0],
    ["defaultMaxOutputTokens", 1.5],
    ["defaultMaxOutputTokens", Number.NaN],
    ["assumedOutputTokens", -1],
    ["minOutputTokens", Infinity],
    ["clamp", "yes"],
    ["waitMs", -1],
    ["waitMs", Number.NaN],
    ["waitMs", Infinity],
    ["maxWaiters", -1],
    ["maxWaiters", 0.5],
    ["leaseMs", 0],
    ["leaseMs", Number.NaN],
    ["maxCallMs", 0],
    ["onLeaseExpiry", "refund"],
    ["unknownModel", "warn"],
    ["unknownModel", null],
    ["unknownModel", { inputUsdPerMTok: 1 }, "unknownModel.outputUsdPerMTok"],
    ["unknownModel", { inputUsdPerMTok: Number.NaN, outputUsdPerMTok: 1 }, "unknownModel.inputUsdPerMTok"],
    ["onStoreFailure", "ignore"],
    ["onStoreFailure", { localMaxUsd: -1 }],
    ["onStoreFailure", { localMaxUsd: Number.NaN }],
    ["onStoreFailure", {}],
    ["onStoreFailure", null],
    ["storeTimeoutMs", 0],
    ["storeTimeoutMs", Number.NaN],
    ["requireAtomicity", "process"],
    ["maxAccounts", 0],
    ["maxAccounts", 1.5],
    ["onListenerError", "console"],
    ["isUnbilled", true],
  ];

  it.each(bad)("%s %o", (option: string, value: unknown, field: string = option) => {
    const make = () => new PolicyEngine({ rules: [], [option]: value } as PolicyEngineOptions);
    expect(make).toThrow(expect.objectContaining({ code: "INVALID_INPUT", field }));
    if (field === option) expect(make).toThrow(expect.objectContaining({ value }));
  });

  it("no options at all", () => {
    for (const options of [undefined, null, [], "rules"]) {
      expect(() => new PolicyEngine(options as never)).toThrow(expect.objectContaining({ code: "INVALID_INPUT" }));
    }
  });
});

describe("an option given as undefined", () => {
  it("equals one not given", async () => {
    const names = [
      "store",
      "namespace",
      "prices",
      "tokenizer",
      "clock",
      "timeZone",
      "defaultLabels",
      "track",
      "mode",
      "reservation",
      "defaultMaxOutputTokens",
    ];
    const more = [
      "assumedOutputTokens",
      "minOutputTokens",
      "clamp",
      "waitMs",
      "maxWaiters",
      "leaseMs",
      "maxCallMs",
      "onLeaseExpiry",
      "unknownModel",
      "onStoreFailure",
    ];
    const rest = ["storeTimeoutMs", "requireAtomicity", "maxAccounts", "onListenerError", "isUnbilled"];
    const none = Object.fromEntries([...names, ...more, ...rest].map((name) => [name, undefined]));
    const policy = new PolicyEngine({ rules: [new VelocityLimitRule({ maxRequests: 1, windowSeconds: 60 })], ...none });
    const auth = await policy.authorize({ model: "gpt-4o", inputTokens: 10 });
    expect(auth.request.maxOutputTokens).toBe(4_096);
    await auth.release();
    await refusal(policy.authorize({ model: "gpt-4o", inputTokens: 10 }));
    await policy.close();
  });
});

describe("store", () => {
  it("may be a Ledger, a Keyv, or memory; what two policies share they share", async () => {
    for (const store of [new MemoryLedger(), new Keyv()]) {
      const first = new PolicyEngine({ rules: [budget()], store, prices: { free: ["ollama"] } });
      await first.record({ id: "a", costUsd: 1 });
      const second = new PolicyEngine({ rules: [budget()], store });
      await refusal(second.authorize({ operation: "x", costUsd: 0.1 }));
      await first.close();
      await second.close();
    }
    const [a, b] = [bench([budget()], { store: "memory" }).policy, bench([budget()], { store: "memory" }).policy];
    await spend(a, 1);
    await spend(b, 1);
  });

  it("in another namespace is another ledger", async () => {
    const store = new Keyv();
    const policy = (namespace: string) => new PolicyEngine({ rules: [budget()], store, namespace });
    await policy("a").record({ id: "a", costUsd: 1 });
    await policy("b").authorize({ operation: "x", costUsd: 0.1 });
    await refusal(policy("a").authorize({ operation: "x", costUsd: 0.1 }));
  });

  it("says how far it is atomic, and is refused where that is too little", () => {
    expect(bench([]).policy.ledger.atomicity).toBe("process");
    expect(() => bench([], { requireAtomicity: "all-processes" })).toThrow(
      expect.objectContaining({ code: "INVALID_INPUT", field: "requireAtomicity" }),
    );
    const everywhere = Object.assign(Object.create(new MemoryLedger()) as MemoryLedger, { atomicity: "all-processes" });
    expect(() => bench([], { store: everywhere, requireAtomicity: "all-processes" })).not.toThrow();
  });
});

describe("a budget over more than an hour on the implicit memory store", () => {
  afterEach(() => vi.restoreAllMocks());

  it("warns, once in a process; the same on a store that was chosen does not", async () => {
    vi.resetModules();
    const { PolicyEngine: Fresh } = await import("../../src/engine.js");
    const { MonthlyBudgetRule: Monthly } = await import("../../src/policy/rules/monthly-budget.js");
    const warnings = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    const use = async (options: Partial<PolicyEngineOptions>, rule = new Monthly({ maxUsd: 1 })) =>
      (await new Fresh({ rules: [rule], ...options }).authorize({ operation: "x", costUsd: 0.01 })).release();
    const codes = () => warnings.mock.calls.map(([, options]) => (options as { code: string }).code);
    await use({ store: "memory" });
    await use({ store: new MemoryLedger() });
    await use({}, new VelocityLimitRule({ maxRequests: 9, windowSeconds: 3_600 }) as never);
    expect(codes()).toEqual([]);
    await use({});
    await use({});
    expect(codes()).toEqual(["DRIFTLOCK_MEMORY_STORE"]);
  });
});

it("a policy without rules lets everything pass and keeps the books", async () => {
  const { policy, clock } = bench([]);
  await spend(policy, 7);
  expect(
    await failure(bench([budget()], { store: policy.ledger, clock }).policy.authorize(costing(0.1))),
  ).toMatchObject({ ruleName: "MonthlyBudgetRule" });
});
