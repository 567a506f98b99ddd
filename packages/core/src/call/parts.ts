import type { Clock } from "../clock.js";
import type { Emitter } from "../events/emitter.js";
import type { PolicyEvents } from "../events/events.js";
import type { LedgerGuard } from "../ledger/guard.js";
import type { Ledger } from "../ledger/ledger.js";
import type { WaitingRoom } from "../ledger/waiting-room.js";
import type { ResolvedOptions } from "../options.js";
import type { PriceBook, PriceMatch } from "../pricing/price-book.js";
import type { ClaimCompiler } from "./claims.js";
import type { Control } from "./control.js";
import type { Outage } from "./outage.js";

/** What an engine is made of; built once, handed to each step of a call. */
export interface Parts {
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  readonly ledger: Ledger;
  readonly guard: LedgerGuard;
  readonly room: WaitingRoom;
  readonly emitter: Emitter<PolicyEvents>;
  readonly prices: PriceBook;
  /** The price of models without one (`unknownModel`). */
  readonly unknownPrice: PriceMatch | undefined;
  readonly compiler: ClaimCompiler;
  readonly control: Control;
  readonly outage: Outage;
  /** Throws once the engine is closed: calls that wait must not be let in afterwards. */
  readonly assertOpen: () => void;
}
