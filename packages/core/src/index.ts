export { PolicyEngine, type Metered } from "./engine.js";
export type { PolicyEngineOptions } from "./options.js";
export type { Authorization, AmendedRequest } from "./call/authorization.js";
export type { UsageReport } from "./call/open-call.js";
export type { UsageRow, Verdict } from "./call/inspect.js";
export type { SpendRecord } from "./call/record.js";
export type { AdjustOptions, FreezeOptions } from "./call/operators.js";
export type { PolicyExtension } from "./call/extension.js";
export { usageFromOpenAI } from "./call/usage-from-openai.js";

export { withAmbient, withLabels, currentAmbient, type Ambient } from "./ambient/ambient.js";

export { BaseRule, type Mode, type Rule, type RuleOptions } from "./policy/rule.js";
export { RuleDecision, type Metadata, type Until } from "./policy/decision.js";
export type { Limit } from "./policy/options.js";
export { AllowModelsRule, type AllowModelsOptions } from "./policy/rules/allow-models.js";
export { BudgetRule, type BudgetOptions } from "./policy/rules/budget.js";
export { ConcurrencyLimitRule, type ConcurrencyLimitOptions } from "./policy/rules/concurrency-limit.js";
export { CostVelocityRule, type CostVelocityOptions } from "./policy/rules/cost-velocity.js";
export { ForecastBudgetRule, type ForecastBudgetOptions } from "./policy/rules/forecast-budget.js";
export { MaxCostPerRequestRule, type MaxCostPerRequestOptions } from "./policy/rules/max-cost-per-request.js";
export { MonthlyBudgetRule, type MonthlyBudgetOptions } from "./policy/rules/monthly-budget.js";
export { PerUserBudgetRule, type PerUserBudgetOptions } from "./policy/rules/per-user-budget.js";
export { RestrictModelRule, type RestrictModelOptions } from "./policy/rules/restrict-model.js";
export {
  TagBasedModelDowngradeRule,
  type TagBasedModelDowngradeOptions,
} from "./policy/rules/tag-based-model-downgrade.js";
export { VelocityLimitRule, type VelocityLimitOptions } from "./policy/rules/velocity-limit.js";

export { DriftlockError } from "./errors/driftlock-error.js";
export { ConfigError } from "./errors/config-error.js";
export {
  CircuitOpenError,
  PolicyViolationError,
  UnknownModelError,
  type ViolationDecision,
  type ViolationDetails,
} from "./errors/policy-violation-error.js";
export { AccountLimitError, DuplicateCallError } from "./errors/request-errors.js";
export { StateLostError, StoreError } from "./errors/store-error.js";
export { UsageError } from "./errors/usage-error.js";

export type { PolicyEventName, PolicyEvents } from "./events/events.js";
export type { Clock } from "./clock.js";
export type { CalendarUnit, Claim, Measure, Reading, Scope, Shortfall, Window } from "./domain/claim.js";
export type { Context, Estimate } from "./domain/context.js";
export type { Labels } from "./domain/labels.js";
export type { Receipt, Used } from "./domain/receipt.js";
export type { GovernedRequest, ModelRequest, OperationRequest, RequestOptions } from "./domain/request.js";
export type { Usage } from "./domain/usage.js";

export type { Price } from "./pricing/price.js";
export { PriceBook, type PriceMatch, type PricesOptions } from "./pricing/price-book.js";
export { chunkedTokenizer, type Tokenizer } from "./pricing/tokenizer.js";

export { KeyvLedger, type KeyvLedgerOptions } from "./ledger/keyv.js";
export { MemoryLedger } from "./ledger/memory.js";
export { RedisLedger, type RedisLedgerOptions } from "./ledger/redis.js";
export { isShareable, openLedger, type OpenLedgerOptions } from "./ledger/open.js";
export type {
  AccountPatch,
  AccountState,
  Actual,
  Closed,
  Drawn,
  Hold,
  Lease,
  Ledger,
  Maybe,
  Meter,
  MeterClaim,
  MeterReading,
  Reserved,
  ReserveRequest,
  SeenState,
  Shortage,
} from "./ledger/ledger.js";
