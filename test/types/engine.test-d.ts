import {
  MemoryLedger,
  type PolicyEngine,
  usageFromOpenAI,
  withAmbient,
  withLabels,
  type Ambient,
  type AmendedRequest,
  type Authorization,
  type GovernedRequest,
  type Ledger,
  type PolicyEngineOptions,
  type Receipt,
  type Usage,
  type UsageReport,
  type UsageRow,
  type Verdict,
} from "@driftlock/core";
import { Keyv } from "keyv";
import { describe, expectTypeOf, it } from "vitest";

declare const policy: PolicyEngine;
const request = { model: "gpt-4o", inputTokens: 1 };

describe("run", () => {
  it("gives back what the call gives back, awaited", () => {
    expectTypeOf(policy.run(request, () => 7)).resolves.toEqualTypeOf<number>();
    expectTypeOf(policy.run(request, async () => "x")).resolves.toEqualTypeOf<string>();
    expectTypeOf(policy.run(request, () => undefined)).resolves.toEqualTypeOf<undefined>();
    expectTypeOf(policy.run(request, async () => ({ id: "a", usage: { prompt_tokens: 1 } }))).resolves.toEqualTypeOf<{
      id: string;
      usage: { prompt_tokens: number };
    }>();
  });

  it("gives back a stream as an iterator of the same chunks", () => {
    const stream = async function* () {
      yield { text: "x" };
    };
    expectTypeOf(policy.run(request, stream)).resolves.toEqualTypeOf<AsyncIterableIterator<{ text: string }>>();
    expectTypeOf(policy.run(request, async () => stream())).resolves.toEqualTypeOf<
      AsyncIterableIterator<{ text: string }>
    >();
  });

  it("asks usageOf about the answer, or about a chunk of the stream", () => {
    void policy.run(
      request,
      async () => ({ tokens: 5 }),
      (answer) => {
        expectTypeOf(answer).toEqualTypeOf<{ tokens: number }>();
        return { inputTokens: 0, outputTokens: answer.tokens };
      },
    );
    const stream = async function* () {
      yield { n: 1 };
    };
    void policy.run(request, stream, (chunk) => {
      expectTypeOf(chunk).toEqualTypeOf<{ n: number }>();
      return undefined;
    });
  });

  it("hands the amended request to the call", () => {
    void policy.run(request, (amended) => {
      expectTypeOf(amended).toEqualTypeOf<AmendedRequest>();
      expectTypeOf(amended.model).toEqualTypeOf<string>();
      expectTypeOf(amended.maxOutputTokens).toEqualTypeOf<number | undefined>();
      expectTypeOf(amended.signal).toEqualTypeOf<AbortSignal | undefined>();
    });
  });
});

describe("a request", () => {
  it("is a model call or an operation with its cost, not both and not neither", () => {
    expectTypeOf({ model: "m" }).toExtend<GovernedRequest>();
    expectTypeOf({ operation: "search", costUsd: 0.1 }).toExtend<GovernedRequest>();
    expectTypeOf({ operation: "search" }).not.toExtend<GovernedRequest>();
    expectTypeOf({ model: "m", costUsd: 0.1 }).not.toExtend<GovernedRequest>();
    expectTypeOf({ messages: [] }).not.toExtend<GovernedRequest>();
    expectTypeOf({ model: "m", labels: { user_id: 7 } }).not.toExtend<GovernedRequest>();
  });
});

describe("an authorization", () => {
  it("settles to a receipt by tokens or by the provider's cost", () => {
    expectTypeOf<Authorization["settle"]>().parameters.toEqualTypeOf<[usage?: UsageReport]>();
    expectTypeOf<Authorization["settle"]>().returns.resolves.toEqualTypeOf<Receipt>();
    expectTypeOf({ costUsd: 0.1 }).toExtend<UsageReport>();
    expectTypeOf({ inputTokens: 1, outputTokens: 1 }).toExtend<UsageReport>();
    expectTypeOf({ inputTokens: 1 }).not.toExtend<UsageReport>();
    expectTypeOf({ outputTokens: 1 }).not.toExtend<Usage>();
    expectTypeOf(usageFromOpenAI).returns.toEqualTypeOf<Usage | undefined>();
  });

  it("releases, meters and gives a ticket", () => {
    expectTypeOf<Authorization["release"]>().returns.resolves.toEqualTypeOf<void>();
    expectTypeOf<Authorization["ticket"]>().toEqualTypeOf<string>();
    expectTypeOf<Authorization["heldUsd"]>().toEqualTypeOf<number>();
    expectTypeOf(policy.settle("ticket")).resolves.toEqualTypeOf<Receipt>();
    const meter = (auth: Authorization, stream: AsyncIterable<string>) => auth.meter(stream);
    expectTypeOf(meter).returns.toEqualTypeOf<AsyncIterableIterator<string>>();
  });

  it("cannot be made by hand changed", () => {
    const change = (auth: Authorization) => {
      // @ts-expect-error: what is to be sent is read-only
      auth.request = request;
      // @ts-expect-error: also inside
      auth.request.model = "other";
    };
    expectTypeOf(change).toBeFunction();
  });
});

describe("options", () => {
  it("need rules and nothing else", () => {
    expectTypeOf<{ rules: [] }>().toExtend<PolicyEngineOptions>();
    expectTypeOf<Record<never, never>>().not.toExtend<PolicyEngineOptions>();
  });

  it("may each be undefined", () => {
    type Optional = {
      [Name in Exclude<keyof PolicyEngineOptions, "rules">]-?: undefined extends PolicyEngineOptions[Name]
        ? never
        : Name;
    }[Exclude<keyof PolicyEngineOptions, "rules">];
    expectTypeOf<Optional>().toEqualTypeOf<never>();
  });

  it("take a Keyv, a Ledger or memory as store", () => {
    expectTypeOf(new Keyv()).toExtend<PolicyEngineOptions["store"]>();
    expectTypeOf(new MemoryLedger()).toExtend<PolicyEngineOptions["store"]>();
    expectTypeOf<Ledger>().toExtend<PolicyEngineOptions["store"]>();
    expectTypeOf<"memory">().toExtend<PolicyEngineOptions["store"]>();
    expectTypeOf<"none">().not.toExtend<PolicyEngineOptions["store"]>();
  });

  it("are words where they are words", () => {
    expectTypeOf<PolicyEngineOptions["mode"]>().toEqualTypeOf<"enforce" | "shadow" | undefined>();
    expectTypeOf<PolicyEngineOptions["reservation"]>().toEqualTypeOf<"exact" | "off" | undefined>();
    expectTypeOf<PolicyEngineOptions["onLeaseExpiry"]>().toEqualTypeOf<"charge" | "release" | undefined>();
    expectTypeOf<PolicyEngineOptions["requireAtomicity"]>().toEqualTypeOf<"all-processes" | undefined>();
    expectTypeOf<{ localMaxUsd: number }>().toExtend<PolicyEngineOptions["onStoreFailure"]>();
    expectTypeOf<{ inputUsdPerMTok: number; outputUsdPerMTok: number }>().toExtend<
      PolicyEngineOptions["unknownModel"]
    >();
  });
});

describe("what else a policy answers", () => {
  it("is plain data", () => {
    expectTypeOf(policy.evaluate(request)).resolves.toEqualTypeOf<readonly Verdict[]>();
    expectTypeOf(policy.usage()).resolves.toEqualTypeOf<readonly UsageRow[]>();
    expectTypeOf(policy.usage({ labels: { user_id: "ada" } })).resolves.toEqualTypeOf<readonly UsageRow[]>();
    expectTypeOf(policy.record({ id: "a", costUsd: 1 })).resolves.toEqualTypeOf<Receipt>();
    expectTypeOf(policy.close()).resolves.toEqualTypeOf<void>();
    expectTypeOf(policy.ledger).toEqualTypeOf<Ledger>();
    expectTypeOf<UsageRow["resetsAt"]>().toEqualTypeOf<string | undefined>();
    expectTypeOf<Verdict["action"]>().toEqualTypeOf<"block" | "downgrade" | null>();
  });

  it("wants somebody to answer for a freeze or an adjustment", () => {
    const who = { by: "grace", reason: "x" };
    expectTypeOf(policy.freeze).toBeCallableWith(who);
    expectTypeOf(policy.adjust).toBeCallableWith("MonthlyBudgetRule", { addUsd: 1, ...who });
    // @ts-expect-error: by and reason are missing
    void (() => policy.freeze({}));
    // @ts-expect-error: addUsd is missing
    void (() => policy.adjust("MonthlyBudgetRule", who));
    // @ts-expect-error: a thaw has no end
    void (() => policy.thaw({ ...who, until: 1 }));
  });
});

describe("ambient blocks", () => {
  it("give back what their function gives back", () => {
    expectTypeOf(withLabels({ user_id: "ada" }, () => 7)).toEqualTypeOf<number>();
    expectTypeOf(withLabels({ user_id: "ada" }, async () => 7)).resolves.toEqualTypeOf<number>();
    expectTypeOf(withAmbient({}, () => "x")).toEqualTypeOf<string>();
    expectTypeOf<Partial<Ambient>>().toEqualTypeOf<Parameters<typeof withAmbient>[0]>();
    // @ts-expect-error: labels are strings
    void (() => withLabels({ user_id: 7 }, () => 1));
  });
});
