/** What a close says beside the receipt. */
export interface Used {
  /** Input and output together. */
  readonly tokens: number;
  /** It was never sent, or certainly not billed. */
  readonly released: boolean;
}

/** What a closed call cost. */
export interface Receipt {
  readonly id: string;
  readonly model: string;
  /** USD charged. */
  readonly costUsd: number;
  /** USD that had been set aside. */
  readonly heldUsd: number;
  /** The usage was not known: charged at the bound, or by what was streamed. */
  readonly estimated: boolean;
  /** USD of the bill above the hold, when there are any: reported, never hidden. */
  readonly overshootUsd?: number;
  /** The call had been closed before: nothing is charged for this close, `costUsd` is 0. */
  readonly duplicate?: boolean;
  /** The store did not answer: the charge is retried in the background. */
  readonly pending?: boolean;
}
