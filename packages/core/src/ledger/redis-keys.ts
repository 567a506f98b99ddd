import { segment } from "./keyv-records.js";

/** Raised when what is stored under these keys changes its shape. */
export const LAYOUT = 1;

/** One life of the state: it ends with its loss, and the next one has keys of its own. */
export interface RedisLife {
  readonly epoch: string;
  /** What the head holds of it: the layout and the epoch. */
  readonly head: string;
}

export function newLife(): RedisLife {
  return lifeOf(crypto.randomUUID().replaceAll("-", "").slice(0, 12));
}

function lifeOf(epoch: string): RedisLife {
  return { epoch, head: `${LAYOUT}:${epoch}` };
}

/** The life a head tells of; a number when that is another layout, which only a later or former version can read. */
export function lifeFrom(head: unknown): RedisLife | number | undefined {
  const [, layout, epoch] = /^(\d+):([0-9a-f]{12})$/.exec(String(head)) ?? [];
  if (layout === undefined || epoch === undefined) return undefined;
  return Number(layout) === LAYOUT ? lifeOf(epoch) : Number(layout);
}

/**
 * The spelling of Redis keys: `{driftlock::app}:a:<epoch>:workspace`. All of a namespace lie in one hash slot, since one
 * script changes several of them. "::" keeps `keyv.clear()` of a cache away from them. The head's name never changes, so that
 * every version finds out which layout the others use.
 */
export class RedisKeys {
  readonly head: string;
  readonly #root: string;

  /** @param keyvNamespace The Keyv's own namespace, so that two on one server stay apart. */
  constructor(namespace: string, keyvNamespace = "") {
    this.#root = `{${segment(namespace)}::${segment(keyvNamespace)}}:`;
    this.head = `${this.#root}head`;
  }

  account({ epoch }: RedisLife, account: string): string {
    return `${this.#root}a:${epoch}:${account}`;
  }

  hold({ epoch }: RedisLife, id: string): string {
    return `${this.#root}h:${epoch}:${id}`;
  }

  /** How many accounts are forgotten on which day. */
  counts({ epoch }: RedisLife): string {
    return `${this.#root}n:${epoch}`;
  }
}
