/** What `run` gives back: of a stream, one that stays in the mission to its end. */
export type Streamed<T> = T extends AsyncIterable<infer Chunk> ? AsyncIterableIterator<Chunk> : T;

export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return (
    typeof (value as { [Symbol.asyncIterator]?: unknown } | null | undefined)?.[Symbol.asyncIterator] === "function"
  );
}

/**
 * A generator's body runs where it is read, not where it was made: each step is taken back into the mission, so that its calls
 * count there and the reader's own calls do not. `onEnd` hears once how it ended: read to the end, broken off, or failed.
 */
export function streamed<T>(
  source: AsyncIterable<T>,
  within: <R>(step: () => R) => R,
  onEnd: (error?: unknown) => Promise<void>,
): AsyncIterableIterator<T> {
  const iterator = within(() => source[Symbol.asyncIterator]());
  const step = async (take: () => Promise<IteratorResult<T>>): Promise<IteratorResult<T>> => {
    let result: IteratorResult<T>;
    try {
      result = await within(take);
    } catch (error) {
      await onEnd(error);
      throw error;
    }
    if (result.done === true) await onEnd();
    return result;
  };
  const done = async (value: unknown) => ({ done: true, value }) as IteratorResult<T>;
  return {
    next: (...given) => step(() => iterator.next(...given)),
    return: (value) => step(() => (iterator.return === undefined ? done(value) : iterator.return(value))),
    throw: (error) => step(() => (iterator.throw === undefined ? Promise.reject(error) : iterator.throw(error))),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
