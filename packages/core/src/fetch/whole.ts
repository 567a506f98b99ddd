import { piecesOf, withPieces, type Pieces } from "./passage.js";
import { isJson } from "./protocols/protocol.js";
import { priced, type Sent } from "./sent.js";

/** Node 20 has no `bytes`; what a response cannot do, it does not learn here. */
const otherWays = ["arrayBuffer", "blob", "bytes", "formData", "clone"] as (keyof Response & "arrayBuffer")[];

/**
 * An answer that is no stream. It was written before it came: a body that is cut, cancelled or never read costs its bound.
 * Never read means at `maxCallMs`, as for any call that nobody closes.
 */
export class WholeAnswer {
  /** Let go of with the settle: Node keeps a response until its garbage is collected in full, with all that hangs on it. */
  #sent: Sent | undefined;
  #settled: Promise<unknown> | undefined;

  constructor(sent: Sent) {
    this.#sent = sent;
  }

  /**
   * The very response, settled when its body is read: by `json` and `text` from what they give, so that nothing is read or
   * parsed twice; by any other way piece by piece.
   */
  watch(response: Response, body: ReadableStream<Uint8Array>): Response {
    let passed: Response | undefined;
    const piecewise = () => (passed ??= withPieces(response, body, this.#pieces(piecesOf(body, response)), false));
    const { json, text } = response;
    const read = async (whole: typeof json | typeof text, answerIn: (value: unknown) => unknown): Promise<unknown> => {
      // It fails by itself, and says nothing of the answer that somebody else reads.
      if (response.bodyUsed) return whole.call(response);
      let value: unknown;
      try {
        value = await whole.call(response);
      } catch (error) {
        await this.#settle(undefined);
        throw error;
      }
      await this.#settle(() => answerIn(value));
      return value;
    };
    const own = (value: () => unknown) => ({ value, configurable: true, writable: true });
    for (const name of otherWays)
      if (name in response)
        Object.defineProperty(
          response,
          name,
          own(() => piecewise()[name]()),
        );
    return Object.defineProperties(response, {
      json: own(() => (passed === undefined ? read(json, (value) => value) : passed.json())),
      text: own(() => (passed === undefined ? read(text, (value) => JSON.parse(value as string)) : passed.text())),
      body: { get: () => piecewise().body, configurable: true },
    });
  }

  #pieces(pieces: Pieces): Pieces {
    /** Copies: what was handed on is the reader's. */
    const parts: Buffer[] = [];
    const answer = () => JSON.parse(Buffer.concat(parts.splice(0)).toString()) as unknown;
    return {
      next: async () => {
        try {
          const result = await pieces.next();
          if (result.done === true) await this.#settle(answer);
          else parts.push(Buffer.from(result.value));
          return result;
        } catch (error) {
          await this.#settle(undefined);
          throw error;
        }
      },
      return: async () => {
        const settled = this.#settle(undefined);
        await pieces.return?.();
        await settled;
        return { done: true, value: undefined };
      },
    };
  }

  /** Once: by the usage in the answer, or at the bound without an answer. null tells that a usage is missing. */
  #settle(answer: (() => unknown) | undefined): Promise<unknown> {
    if (this.#settled === undefined) {
      const sent = this.#sent!;
      this.#sent = undefined;
      this.#settled = sent.auth.settleQuietly(answer === undefined ? undefined : (usageIn(answer, sent) ?? null));
    }
    return this.#settled;
  }
}

function usageIn(read: () => unknown, sent: Sent) {
  try {
    const answer = read();
    return isJson(answer) ? priced(sent.protocol.usageOf(answer), sent) : undefined;
  } catch {
    return undefined;
  }
}
