type Listener = (event: never) => unknown;

/** Tells listeners, and nothing comes back: one that throws or rejects is reported and changes nothing. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<Listener>>();
  readonly #onListenerError: (error: unknown, name: string) => void;

  constructor(onListenerError: (error: unknown, name: string) => void) {
    this.#onListenerError = onListenerError;
  }

  /** Listens; the answer stops it. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => unknown): () => void {
    let listeners = this.#listeners.get(name);
    if (listeners === undefined) this.#listeners.set(name, (listeners = new Set()));
    listeners.add(listener as Listener);
    return () => void listeners.delete(listener as Listener);
  }

  has(name: keyof Events): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  /** The event is built only when somebody listens. */
  emit<Name extends keyof Events>(name: Name, build: () => Events[Name]): void {
    const listeners = this.#listeners.get(name);
    if (listeners === undefined || listeners.size === 0) return;
    const event = build();
    for (const listener of Array.from(listeners)) {
      try {
        const answer = (listener as (event: Events[Name]) => unknown)(event);
        if (answer instanceof Promise) answer.catch((error: unknown) => this.report(error, name as string));
      } catch (error) {
        this.report(error, name as string);
      }
    }
  }

  /** Tells of a caller's own function that failed. */
  report(error: unknown, name: string): void {
    try {
      this.#onListenerError(error, name);
    } catch {
      // The reporter of listener errors failed too: there is nobody left to tell, and the call must not suffer.
    }
  }
}
