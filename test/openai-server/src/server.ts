import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { BillEntry } from "./bill.js";
import { chatCompletions } from "./endpoints/chat-completions.js";
import { embeddings } from "./endpoints/embeddings.js";
import type { Endpoint } from "./endpoints/endpoint.js";
import { messages } from "./endpoints/messages.js";
import { responses } from "./endpoints/responses.js";
import { invalidRequest } from "./error-body.js";
import { Exchange } from "./exchange.js";
import { Log, type Received } from "./log.js";
import { listModels } from "./models.js";
import { type Reply, type Script, toScript } from "./reply.js";
import type { ReceivedRequest } from "./request.js";
import { serve } from "./serve.js";

const endpoints: Readonly<Record<string, Endpoint>> = {
  "POST /v1/chat/completions": chatCompletions,
  "POST /v1/responses": responses,
  "POST /v1/embeddings": embeddings,
  "POST /v1/messages": messages,
};

/** Azure's way: the deployment in the path is the model, whatever the body says. */
const deployments = /^\/openai\/deployments\/([^/]+)(\/(?:chat\/completions|embeddings))$/;

export interface OpenAIServerOptions {
  /** How to answer; see {@link OpenAIServer.script}. Default: the default reply, always. */
  readonly reply?: Reply | readonly Reply[] | Script;
  /** Milliseconds since the epoch, for `at` and `created`. Default: `Date.now`. */
  readonly now?: () => number;
}

/**
 * Starts a server on a free port of 127.0.0.1 that speaks the OpenAI protocol, Azure's paths of it, and Anthropic's messages.
 *
 * @example
 * await using server = await startOpenAIServer({ reply: { text: "Hi!" } });
 * const openai = new OpenAI({ baseURL: server.url, apiKey: "any" });
 */
export async function startOpenAIServer(options: OpenAIServerOptions = {}): Promise<OpenAIServer> {
  const server = new OpenAIServer(options);
  await server.listen();
  return server;
}

/** The running server: what came in, what is charged, and what to answer next. */
export class OpenAIServer implements AsyncDisposable {
  readonly #http: Server = createServer((incoming, outgoing) => void this.#handle(incoming, outgoing));
  readonly #options: OpenAIServerOptions;
  readonly #now: () => number;
  #script: Script;
  #origin = "";
  #log = new Log();
  /** Never reset: an id is not given twice. */
  #received = 0;
  #open = 0;
  #waiting: (() => void)[] = [];

  constructor(options: OpenAIServerOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#script = toScript(options.reply);
  }

  /** The base URL for clients, with `/v1`. */
  get url(): string {
    return `${this.#origin}/v1`;
  }

  /** The base URL for clients that add the version themselves: Anthropic's, Azure's. */
  get origin(): string {
    return this.#origin;
  }

  /** Every request since the start or the last {@link reset}, in order of arrival. */
  get requests(): readonly ReceivedRequest[] {
    return this.#log.requests;
  }

  /** What was charged since the start or the last {@link reset}, in order of ending. Open requests are not in it. */
  get bill(): readonly BillEntry[] {
    return this.#log.bill;
  }

  /** Sets how to answer from now on: one reply for all, a list used up in order (then the default), or a function. */
  script(replies: Reply | readonly Reply[] | Script): void {
    this.#script = toScript(replies);
  }

  /** Forgets requests, bill and script, and goes back to `options.reply`. Open requests end in the old bill. */
  reset(): void {
    this.#script = toScript(this.#options.reply);
    this.#log = new Log();
  }

  /** Resolves once {@link requests} holds `count` requests. */
  async arrived(count: number): Promise<void> {
    await this.#until(() => this.requests.length >= count);
  }

  /** Resolves once no request is open: after it, what a client aborted is in the bill. */
  async idle(): Promise<void> {
    await this.#until(() => this.#open === 0);
  }

  /** @internal Called by {@link startOpenAIServer}. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#http.once("error", reject).listen(0, "127.0.0.1", resolve);
    });
    this.#origin = `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** Cuts what is open and stops. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
    this.#http.closeAllConnections();
    await closed;
    await this.idle();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const id = `req_${++this.#received}`;
    const exchange = new Exchange(outgoing, id);
    this.#open++;
    try {
      const received = await this.#log.receive(incoming, id, this.#now);
      this.#changed();
      await this.#route(exchange, received);
    } catch {
      // The client left before its request was read: there is nobody to answer and nothing to bill.
      exchange.cut();
    } finally {
      this.#open--;
      this.#changed();
    }
  }

  async #route(exchange: Exchange, { request, tab }: Received): Promise<void> {
    const [path = ""] = request.path.split("?", 1);
    const [, deployment, rest] = deployments.exec(path) ?? [];
    const route = `${request.method} ${rest === undefined ? path : `/v1${rest}`}`;
    const endpoint = endpoints[route];
    const model = deployment === undefined ? {} : { model: decodeURIComponent(deployment) };
    const asked = { ...request, body: { ...request.body, ...model } };
    if (endpoint) await serve(exchange, endpoint, asked, this.#script, tab);
    else if (route === "GET /v1/models") exchange.json(200, listModels());
    else exchange.error(404, invalidRequest(`Invalid URL (${request.method} ${request.path})`));
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #changed(): void {
    for (const resume of this.#waiting.splice(0)) resume();
  }
}
