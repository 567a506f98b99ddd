import type { IncomingMessage } from "node:http";
import type { BillEntry } from "./bill.js";
import { readBody, type ReceivedRequest } from "./request.js";
import { Tab } from "./tab.js";

/** What came in and what was charged since a moment. A reset starts a new one; open requests end in the one they began in. */
export class Log {
  readonly requests: ReceivedRequest[] = [];
  readonly bill: BillEntry[] = [];
  /** Attempts so far, by path and body, of the requests that were not answered since they last were. */
  readonly #unanswered = new Map<string, number>();

  /** Reads a request to its end, and opens its tab. Rejects when the client leaves before. */
  async receive(incoming: IncomingMessage, id: string, now: () => number): Promise<Received> {
    const { raw, body } = await readBody(incoming);
    const { method = "GET", url: path = "/", headers } = incoming;
    const key = `${method} ${path} ${raw}`;
    const attempt = 1 + (this.#unanswered.get(key) ?? 0);
    const request: ReceivedRequest = { id, method, path, headers, body: body ?? {}, at: now(), attempt };
    this.requests.push(request);

    const tab = new Tab(request, (entry) => {
      this.bill.push(entry);
      if (entry.outcome === "completed") this.#unanswered.delete(key);
      else this.#unanswered.set(key, attempt);
    });
    return { request, tab };
  }
}

export interface Received {
  readonly request: ReceivedRequest;
  /** Closed by the endpoints that charge; a tab left open is not in the bill. */
  readonly tab: Tab;
}
