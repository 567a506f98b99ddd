import {
  AccountLimitError,
  CircuitOpenError,
  ConfigError,
  DriftlockError,
  DuplicateCallError,
  PolicyViolationError,
  StateLostError,
  StoreError,
  UnknownModelError,
  UsageError,
  type Receipt,
  type ViolationDecision,
} from "@driftlock/core";
import { describe, expectTypeOf, it } from "vitest";

declare const thrown: unknown;

describe("isInstance", () => {
  it("narrows to the class it is asked of", () => {
    if (PolicyViolationError.isInstance(thrown)) {
      expectTypeOf(thrown).toEqualTypeOf<PolicyViolationError>();
      expectTypeOf(thrown.ruleName).toEqualTypeOf<string>();
      expectTypeOf(thrown.decision).toEqualTypeOf<ViolationDecision>();
      expectTypeOf(thrown.retryAfterMs).toEqualTypeOf<number | undefined>();
      expectTypeOf<(typeof thrown)["status"]>().toEqualTypeOf<402>();
      expectTypeOf(thrown.httpStatus).toEqualTypeOf<number>();
    }
    if (CircuitOpenError.isInstance(thrown)) expectTypeOf(thrown).toEqualTypeOf<CircuitOpenError>();
    if (UnknownModelError.isInstance(thrown)) expectTypeOf(thrown.model).toEqualTypeOf<string>();
    if (ConfigError.isInstance(thrown)) expectTypeOf(thrown.field).toEqualTypeOf<string>();
    if (UsageError.isInstance(thrown)) expectTypeOf(thrown.receipt).toEqualTypeOf<Receipt | undefined>();
    if (StoreError.isInstance(thrown)) expectTypeOf(thrown.operation).toEqualTypeOf<string>();
    if (DuplicateCallError.isInstance(thrown)) expectTypeOf(thrown.id).toEqualTypeOf<string>();
    if (AccountLimitError.isInstance(thrown)) expectTypeOf(thrown.maxAccounts).toEqualTypeOf<number>();
    if (DriftlockError.isInstance(thrown)) expectTypeOf(thrown.code).toEqualTypeOf<string>();
  });

  it("leaves the rest as it was", () => {
    const error = thrown as Error | PolicyViolationError;
    if (!PolicyViolationError.isInstance(error)) expectTypeOf(error).toEqualTypeOf<Error>();
  });
});

describe("find", () => {
  it("answers the class it is asked of, or nothing", () => {
    expectTypeOf(PolicyViolationError.find(thrown)).toEqualTypeOf<PolicyViolationError | undefined>();
    expectTypeOf(StateLostError.find(thrown)).toEqualTypeOf<StateLostError | undefined>();
    expectTypeOf(DriftlockError.find(thrown)?.code).toEqualTypeOf<string | undefined>();
  });
});

describe("the classes", () => {
  it("extend each other as the contract says", () => {
    expectTypeOf<CircuitOpenError>().toExtend<PolicyViolationError>();
    expectTypeOf<UnknownModelError>().toExtend<PolicyViolationError>();
    expectTypeOf<StateLostError>().toExtend<StoreError>();
    for (const Class of [
      ConfigError,
      PolicyViolationError,
      StoreError,
      UsageError,
      DuplicateCallError,
      AccountLimitError,
    ]) {
      expectTypeOf(Class.prototype).toExtend<DriftlockError>();
    }
  });

  it("cannot be changed, and the base cannot be made", () => {
    const change = (error: PolicyViolationError) => {
      // @ts-expect-error: read-only
      error.ruleName = "x";
    };
    expectTypeOf(change).toBeFunction();
    // @ts-expect-error: abstract
    void (() => new DriftlockError("x"));
  });
});
