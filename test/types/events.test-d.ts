import type { Labels, PolicyEngine, PolicyEventName, PolicyEvents, Receipt } from "@driftlock/core";
import { describe, expectTypeOf, it } from "vitest";

declare const policy: PolicyEngine;

describe("on", () => {
  it("knows what each event carries", () => {
    policy.on("call-settled", ({ id, model, labels, receipt }) => {
      expectTypeOf(id).toEqualTypeOf<string>();
      expectTypeOf(model).toEqualTypeOf<string>();
      expectTypeOf(labels).toEqualTypeOf<Labels>();
      expectTypeOf(receipt).toEqualTypeOf<Receipt>();
    });
    policy.on("call-denied", ({ ruleName, code, retryAfterMs }) => {
      expectTypeOf(ruleName).toEqualTypeOf<string>();
      expectTypeOf(code).toEqualTypeOf<string>();
      expectTypeOf(retryAfterMs).toEqualTypeOf<number | undefined>();
    });
    policy.on("call-released", ({ reason }) => expectTypeOf(reason).toEqualTypeOf<"never-sent" | "unbilled">());
    policy.on("call-reserved", ({ assumed, heldUsd, maxOutputTokens }) => {
      expectTypeOf(assumed).toEqualTypeOf<boolean>();
      expectTypeOf(heldUsd).toEqualTypeOf<number>();
      expectTypeOf(maxOutputTokens).toEqualTypeOf<number>();
    });
    policy.on("threshold-crossed", ({ percent, spentUsd, maxUsd }) => {
      expectTypeOf(percent).toEqualTypeOf<number>();
      expectTypeOf(spentUsd).toEqualTypeOf<number>();
      expectTypeOf(maxUsd).toEqualTypeOf<number>();
    });
    policy.on("store-failed", ({ operation, id }) => {
      expectTypeOf(operation).toEqualTypeOf<string>();
      expectTypeOf(id).toEqualTypeOf<string | undefined>();
    });
  });

  it("answers a function that stops it, and knows every name", () => {
    expectTypeOf(policy.on("call-settled", () => undefined)).toEqualTypeOf<() => void>();
    expectTypeOf<PolicyEventName>().toEqualTypeOf<keyof PolicyEvents>();
    // Missions add names of their own where they are installed, as they are here.
    expectTypeOf<Exclude<PolicyEventName, `mission-${string}`>>().toEqualTypeOf<
      | "call-reserved"
      | "call-waiting"
      | "call-denied"
      | "call-amended"
      | "call-shadowed"
      | "call-settled"
      | "call-released"
      | "lease-expired"
      | "threshold-crossed"
      | "store-failed"
      | "usage-invalid"
    >();
    // @ts-expect-error: no such event
    void (() => policy.on("call-explained", () => undefined));
  });

  it("takes listeners that answer anything, also later", () => {
    policy.on("call-settled", async () => 7);
    policy.on("call-settled", () => "ignored");
  });
});
