import { describe, expect, it } from "vitest";
import { PolicyEngine } from "../../src/engine.js";
import { ConfigError } from "../../src/errors/config-error.js";
import { PolicyViolationError } from "../../src/errors/policy-violation-error.js";
import { governFetch, type GovernFetchOptions } from "../../src/fetch/index.js";
import { MemoryLedger } from "../../src/ledger/memory.js";
import { MonthlyBudgetRule } from "../../src/policy/rules/monthly-budget.js";
import { ManualClock } from "../../src/testing/manual-clock.js";

const policy = new PolicyEngine({ rules: [], store: "memory" });
const undefinedOptions: GovernFetchOptions = {
  labels: undefined,
  fetch: undefined,
  provider: undefined,
  onUnknownRequest: undefined,
  labelsHeader: undefined,
  streamUsage: undefined,
};

describe("a wrong option is refused where it is given, by name and value", () => {
  it.each([
    [{ labels: "ada" }, "labels"],
    [{ labels: { user_id: 7 } }, "labels.user_id"],
    [{ labels: ["ada"] }, "labels"],
    [{ fetch: {} }, "fetch"],
    [{ provider: "" }, "provider"],
    [{ provider: 7 }, "provider"],
    [{ onUnknownRequest: "block" }, "onUnknownRequest"],
    [{ labelsHeader: "yes" }, "labelsHeader"],
    [{ streamUsage: 1 }, "streamUsage"],
    [{ onUnknownRequests: "deny" }, "onUnknownRequests"],
    [null, "options"],
  ])("%o", (options, field) => {
    const make = () => governFetch(policy, options as never);
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(new RegExp(`^${field.replace(".", "\\.")}: `));
  });

  it.each([undefined, null, {}, { rules: [] }])("a policy that is none: %o", (none) => {
    expect(() => governFetch(none as never)).toThrow(/^policy: must be a PolicyEngine/);
  });

  it("a getter that throws", () => {
    const options = {
      get labels() {
        throw new Error("no");
      },
    };
    expect(() => governFetch(policy, options as never)).toThrow(/^options: cannot be read/);
  });

  it("undefined is not given", () => {
    expect(governFetch(policy, undefinedOptions)).toBeTypeOf("function");
  });
});

describe("a fetch that the policy governs already", () => {
  it("is refused: each call would be charged twice", () => {
    const governed = governFetch(policy);
    expect(() => governFetch(policy, { fetch: governed })).toThrow(/^fetch: is already governed by this policy/);
    const other = new PolicyEngine({ rules: [], store: "memory" });
    expect(governFetch(other, { fetch: governed })).toBeTypeOf("function");
  });

  it("may be governed by another policy: a call in a call does not wait for its own room", async () => {
    const clock = new ManualClock();
    const store = new MemoryLedger({ clock });
    const prices = { overrides: { flat: { inputUsdPerMTok: 0, outputUsdPerMTok: 1_000 } } };
    const rules = [new MonthlyBudgetRule({ maxUsd: 0.15 })];
    const [outer, inner] = [0, 1].map(() => new PolicyEngine({ rules, store, clock, prices }));
    const answer = async () => new Response('{"usage":{"prompt_tokens":1,"completion_tokens":100}}');
    const fetch = governFetch(outer!, { fetch: governFetch(inner!, { fetch: answer }) });
    const body = JSON.stringify({ model: "flat", messages: [], max_tokens: 100 });
    // The clock stands: a call that waited would never end.
    const response = await fetch("https://localhost/v1/chat/completions", { method: "POST", body });
    expect(PolicyViolationError.find(response)).toMatchObject({ ruleName: "MonthlyBudgetRule" });
    expect(await outer!.usage()).toMatchObject([{ spentUsd: 0, heldUsd: 0 }]);
  });

  it("may stand in for the global one: the one that sends is the one of before", async () => {
    const before = globalThis.fetch;
    const seen: unknown[] = [];
    globalThis.fetch = async (input) => (seen.push(input), new Response("{}"));
    try {
      globalThis.fetch = governFetch(policy) as typeof fetch;
      expect((await fetch("https://localhost/v1/models")).status).toBe(200);
      expect(seen).toEqual(["https://localhost/v1/models"]);
    } finally {
      globalThis.fetch = before;
    }
  });
});
