/** An account's small stored state. Freeze, raise, kill and slices are this and nothing else. */
export interface AccountState {
  /** Raised by one at every change; 0 is an account never amended. */
  readonly version: number;
  readonly status?: string;
  /** The sum of all `addLimit`, in the integers of the account's stored limit. */
  readonly limitDelta: number;
  readonly by?: string;
  readonly reason?: string;
  readonly notes: Readonly<Record<string, string>>;
}
