import { ConfigError } from "../errors/config-error.js";
import { LABELS_HEADER } from "./labels.js";
import { isJson, type Json } from "./protocols/protocol.js";

/** A request as a client hands it to `fetch`: an address with its init, or a `Request`, whose parts init replaces. */
export class ClientRequest {
  readonly address: string;
  readonly #request: Request | undefined;
  readonly #init: RequestInit;

  constructor(input: string | URL | Request, init?: RequestInit | null) {
    this.#request = isRequest(input) ? input : undefined;
    this.address = isRequest(input) ? input.url : String(input);
    this.#init = init ?? {};
  }

  get method(): string {
    return this.#init.method ?? this.#request?.method ?? "GET";
  }

  get signal(): AbortSignal | undefined {
    return this.#init.signal ?? this.#request?.signal ?? undefined;
  }

  /** Made when somebody looks: most calls have nobody who does. */
  readonly headers = (): Headers => new Headers(this.#init.headers ?? this.#request?.headers);

  /**
   * The body as an object, whatever it was given as; a stream is read to its end.
   * @throws ConfigError for a body that is none: the provider would refuse it as well.
   */
  async json(): Promise<Json> {
    const given = this.#init.body ?? this.#request?.body;
    const text = typeof given === "string" ? given : await textOf(given);
    const body = parsed(text);
    if (isJson(body)) return body;
    throw new ConfigError({
      field: "body",
      value: undefined,
      problem: "must be a JSON object, so that it can be judged",
    });
  }

  /**
   * The init of the same request, for another body. A length told beforehand is that of the old one.
   * @throws TypeError for headers that cannot be sent.
   */
  rewritable(): RequestInit {
    const headers = this.#without(LABELS_HEADER, "content-length");
    if (this.#request === undefined) return headers === undefined ? this.#init : { ...this.#init, headers };
    const { method, signal, redirect, credentials, cache, integrity, keepalive, referrerPolicy } = this.#request;
    const own = { method, signal, redirect, credentials, cache, integrity, keepalive, referrerPolicy };
    // To `fetch`, a member that is undefined is none: it does not replace the request's.
    const given = Object.fromEntries(Object.entries(this.#init).filter(([, value]) => value !== undefined));
    return { ...own, ...given, headers: headers ?? this.headers() };
  }

  /** The arguments of the same request, without the header that is ours. */
  untouched(): [string | Request, RequestInit?] {
    const headers = this.#without(LABELS_HEADER);
    const input = this.#request ?? this.address;
    return [input, headers === undefined ? this.#init : { ...this.#init, headers }];
  }

  /** The headers without some; `undefined` when they have none of those. */
  #without(...names: string[]): Headers | undefined {
    const given = this.#init.headers ?? this.#request?.headers;
    if (given === undefined) return undefined;
    const headers = given instanceof Headers ? given : new Headers(given);
    if (!names.some((name) => headers.has(name))) return undefined;
    const rest = new Headers(headers);
    for (const name of names) rest.delete(name);
    return rest;
  }
}

/** Not by its class: a `URL` of another realm or of a library is an address, too. */
function isRequest(input: string | URL | Request): input is Request {
  return typeof input === "object" && typeof (input as Partial<Request>).url === "string";
}

/** Bytes, a Blob, a form, a stream: as `fetch` itself would send it. */
async function textOf(body: RequestInit["body"]): Promise<string> {
  return body === undefined || body === null ? "" : new Response(body).text();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
