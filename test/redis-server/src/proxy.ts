import { type AddressInfo, createServer, connect, type Server, type Socket } from "node:net";

/** Where the connection is cut: the server never sees the request, or it has answered and nobody hears it. */
export type Cut = "before the request" | "after the request";

/**
 * Starts a proxy on a free port of 127.0.0.1 that hands everything on to `port` of 127.0.0.1, until told otherwise.
 *
 * @example
 * await using proxy = await startProxy(redis.port);
 * const store = new Keyv(new KeyvRedis(proxy.url));
 * const cut = proxy.cut("after the request", "EVALSHA");
 */
export async function startProxy(port: number): Promise<RedisProxy> {
  const proxy = new RedisProxy(port);
  await proxy.listen();
  return proxy;
}

export class RedisProxy implements AsyncDisposable {
  readonly #target: number;
  readonly #server: Server = createServer((client) => this.#serve(client));
  readonly #sockets = new Set<Socket>();
  #port = 0;
  #order: { readonly cut: Cut; readonly word: string; readonly done: () => void } | undefined;

  constructor(target: number) {
    this.#target = target;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.#port}`;
  }

  /** @internal Called by {@link startProxy}. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => this.#server.once("error", reject).listen(0, "127.0.0.1", resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Cuts the connection of the next request that holds `word`, once, and resolves when that is done. */
  cut(cut: Cut, word: string): Promise<void> {
    return new Promise((done) => (this.#order = { cut, word, done }));
  }

  /** Cuts every connection there is, at once: clients read a reset. */
  drop(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.drop();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #serve(client: Socket): void {
    const server = connect(this.#target, "127.0.0.1");
    const sockets = [client, server];
    const end = () => {
      for (const socket of sockets) {
        socket.destroy();
        this.#sockets.delete(socket);
      }
    };
    /** Set while a reply is on its way that must not arrive. */
    let unheard: (() => void) | undefined;
    client.on("data", (request) => {
      const order = this.#order;
      if (order === undefined || !request.includes(order.word)) {
        server.write(request);
        return;
      }
      this.#order = undefined;
      if (order.cut === "before the request") {
        end();
        order.done();
      } else {
        unheard = order.done;
        server.write(request);
      }
    });
    server.on("data", (reply) => {
      if (unheard === undefined) {
        client.write(reply);
        return;
      }
      end();
      unheard();
    });
    for (const socket of sockets) {
      this.#sockets.add(socket);
      // Nagle's delay is no part of any test.
      socket.setNoDelay(true).on("error", end).on("close", end);
    }
  }
}
