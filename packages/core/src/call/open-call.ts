import { createHash } from "node:crypto";
import type { Labels } from "../domain/labels.js";
import type { Receipt } from "../domain/receipt.js";
import type { Usage } from "../domain/usage.js";
import { ConfigError } from "../errors/config-error.js";
import type { PromptKinds } from "../pricing/price.js";
import type { Hold, Meter, MeterReading } from "../ledger/ledger.js";

/** What is needed to close a call, from this process or another. JSON-able. */
export interface OpenCall {
  readonly id: string;
  readonly model: string;
  readonly provider?: string | undefined;
  readonly labels: Labels;
  readonly hold: Hold;
  /** The worst case in nano-USD, also when nothing is held (`reservation: "off"`). */
  readonly boundNano: number;
  readonly heldNano: number;
  readonly inputTokens: number;
  /** Output tokens of the worst case, all choices together. */
  readonly outputTokens: number;
  /** What the prompt holds beside text; it decides the price of the input. */
  readonly kinds?: PromptKinds;
  /** Its cost is fixed: an operation, not a model call. */
  readonly fixed?: boolean;
}

/** What a call is reported to have used: tokens, or the provider's own cost in USD. */
export type UsageReport = Usage | (Partial<Usage> & { readonly costUsd: number });

/** What a close charged: nano-USD and tokens. */
export interface Charged {
  readonly usd: number;
  readonly tokens: number;
  readonly released: boolean;
}

/** Hears once how a call ended: the receipt, the readings of its views and what was charged. */
export type OnClosed = (receipt: Receipt, readings: readonly MeterReading[], charged: Charged) => void;

/** An open call of this process, as far as closing it needs it. */
export interface Closable {
  readonly call: OpenCall;
  readonly views: readonly Meter[] | undefined;
  readonly onClosed: OnClosed | undefined;
}

/** What closes the call from any process, with a few characters of a hash that show whether it came through unchanged. */
export function ticketOf(call: OpenCall): string {
  const text = JSON.stringify({ v: 1, ...call });
  return Buffer.from(`${text.slice(0, -1)},"check":"${checkOf(text)}"}`).toString("base64url");
}

/** Reads a ticket back. Throws `ConfigError` for anything else. */
export function callOfTicket(ticket: unknown): OpenCall {
  const given = typeof ticket === "string" ? Buffer.from(ticket, "base64url").toString() : "";
  const [, fields, check] = /^(\{"v":1,.*),"check":"([\w-]{12})"\}$/s.exec(given) ?? [];
  const text = `${fields}}`;
  if (check !== undefined && check === checkOf(text)) return JSON.parse(text) as OpenCall;
  throw new ConfigError({
    field: "ticket",
    value: ticket,
    problem: "must be the ticket of an authorization, unchanged",
  });
}

function checkOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, 12);
}
