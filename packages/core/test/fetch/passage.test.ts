import { Buffer } from "node:buffer";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PolicyEngine } from "../../src/engine.js";
import { governFetch } from "../../src/fetch/index.js";
import { billedUsd, GPT, inPieces, messages, setUp, spend, tick } from "./kit.js";

const policy = new PolicyEngine({ rules: [], store: "memory" });
const body = (fields: object = {}) => JSON.stringify({ model: GPT, messages, stream: true, ...fields });
const asked = { stream_options: { include_usage: true } };

/** Sends a call whose answer is the given one. */
function send(response: () => Response, fields: object = {}, under = policy): Promise<Response> {
  const governed = governFetch(under, { fetch: async () => response() });
  return governed("http://localhost/v1/chat/completions", { method: "POST", body: body(fields) });
}

async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

const delta = (content: string) =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }], usage: null })}\n\n`;
const USAGE = `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 3 } })}\n\n`;

/** Text as a provider may frame it: data in any encoding, comments, line ends of both kinds, an end that is missing. */
const frames = fc.array(
  fc.oneof(
    fc.string({ unit: "binary" }).map(delta),
    fc.string({ unit: "binary" }).map((text) => delta(text).replaceAll("\n", "\r\n")),
    fc.constantFrom(
      ": keep-alive\n\n",
      "event: ping\ndata: {}\n\n",
      "\n",
      "data: [DONE]\n\n",
      "data: {half\n\n",
      "id: 7\nretry: 1\n\n",
    ),
    fc.constant(`data: {"choices":[],\ndata: "prompt_filter_results":[]}\n\n`),
  ),
  { maxLength: 12 },
);

/** Cuts bytes at any places, also within a character. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

describe("a body passes byte for byte", () => {
  it("piece by piece, however it is cut", () =>
    fc.assert(
      fc.asyncProperty(frames, fc.array(fc.nat(), { maxLength: 20 }), fc.boolean(), async (parts, places, ends) => {
        const whole = Buffer.from(parts.join("") + USAGE).subarray(0, ends ? undefined : -2);
        const pieces = cut(whole, places).filter(({ length }) => length > 0);
        const seen: Buffer[] = [];
        const response = await send(() => inPieces(pieces), asked);
        for await (const piece of response.body!) seen.push(Buffer.from(piece));
        expect(seen).toEqual(pieces);
      }),
      { numRuns: 200 },
    ));

  it("without the usage nobody asked for, however it is cut", () =>
    fc.assert(
      fc.asyncProperty(
        frames,
        frames,
        fc.array(fc.nat(), { maxLength: 20 }),
        fc.boolean(),
        async (before, after, places, ends) => {
          // At the end of a stream the last line break may be missing; the usage can be last.
          const rest = after.join("");
          const whole = Buffer.from(before.join("") + USAGE + rest);
          const cutOff = ends || rest !== "" ? whole : whole.subarray(0, -2);
          const response = await send(() => inPieces(cut(cutOff, places).filter(({ length }) => length > 0)));
          expect((await bytesOf(response)).toString()).toBe(before.join("") + rest);
        },
      ),
      { seed: 20260310, numRuns: 200 },
    ));

  it("and JSON as it was written, whatever it is", async () => {
    for (const text of ['{"a": 1.0,\n "b":"\\u00e9é"}', "", "no JSON", '{"usage":', "[]", "null"]) {
      const type = { headers: { "content-type": "application/json" } };
      const response = await send(() => inPieces([text.slice(0, 3), text.slice(3)].filter(Boolean), type));
      expect(await response.text()).toBe(text);
    }
  });

  it("a usage is kept from the client only as an event of its own", async () => {
    const last = `data: ${JSON.stringify({ choices: [{ index: 0, delta: {} }], usage: { prompt_tokens: 1, completion_tokens: 1 } })}\n\n`;
    const filter = 'data: {"choices":[],"prompt_filter_results":[]}\n\n';
    expect((await bytesOf(await send(() => inPieces([filter, delta("a"), last])))).toString()).toBe(
      filter + delta("a") + last,
    );
  });
});

describe("a body is read as its reader reads", () => {
  /** A provider that counts what was taken from it. */
  function counted(size = 100) {
    const state = { taken: 0, cancelled: undefined as unknown };
    const upstream = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          if (state.taken === size) controller.close();
          else controller.enqueue(new Uint8Array(Buffer.from(delta(`${state.taken++}`))));
        },
        cancel: (reason) => void (state.cancelled = reason ?? "cancelled"),
      },
      { highWaterMark: 0 },
    );
    return { state, response: () => new Response(upstream, { headers: { "content-type": "text/event-stream" } }) };
  }

  it.each([asked, {}])("nothing is taken from the provider before somebody asks: %o", async (fields) => {
    const { state, response } = counted();
    const passed = await send(response, fields);
    await tick();
    expect(state.taken).toBe(0);
    const reader = passed.body!.getReader();
    for (let read = 1; read <= 3; read++) {
      await reader.read();
      await tick();
      expect(state.taken).toBe(read);
    }
    await reader.cancel();
    expect(state).toEqual({ taken: 3, cancelled: "cancelled" });
  });

  it("a whole answer, too", async () => {
    const { state, response } = counted();
    const passed = await send(() => new Response(response().body, { headers: { "content-type": "application/json" } }));
    await tick();
    expect(state.taken).toBe(0);
    await passed.body!.getReader().read();
    expect(state.taken).toBe(1);
    await passed.body!.cancel().catch(() => {});
  });

  it("into memory of the reader's own, where the provider's body can be", async () => {
    const { fetch, server } = await setUp();
    const init = { method: "POST", body: JSON.stringify({ model: GPT, messages }) };
    const { body: stream } = await fetch(`${server.url}/chat/completions`, init);
    const reader = stream!.getReader({ mode: "byob" });
    let text = "";
    for (let memory = new Uint8Array(1_000); ;) {
      const { done, value } = await reader.read(memory);
      text += Buffer.from(value!).toString();
      if (done) break;
      memory = new Uint8Array(1_000);
    }
    expect(JSON.parse(text)).toMatchObject({ object: "chat.completion" });
  });

  it("pieces that share memory with others come through unharmed", async () => {
    const both = new Uint8Array(Buffer.from(delta("one") + delta("two")));
    const [first, second] = [both.subarray(0, delta("one").length), both.subarray(delta("one").length)];
    const upstream = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(first);
        controller.enqueue(second);
        controller.close();
      },
    });
    const passed = await send(() => new Response(upstream, { headers: { "content-type": "text/event-stream" } }));
    expect(await passed.text()).toBe(delta("one") + delta("two"));
    expect(Buffer.from(second).toString()).toBe(delta("two"));
  });

  it("a body that cannot be watched is handed on, and its call charged at its bound", async () => {
    const { policy: metered, receipts } = await setUp();
    const locked = new Response("{}");
    locked.body!.getReader();
    expect(await send(() => locked, {}, metered)).toBe(locked);
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
    expect((await send(() => new Response(null), {}, metered)).body).toBeNull();
    expect(receipts[1]).toMatchObject({ estimated: true, costUsd: receipts[1]!.heldUsd });
  });
});

describe("a whole answer is settled to its usage however its body is read", () => {
  const ways: Record<string, (response: Response) => Promise<unknown>> = {
    json: (response) => response.json(),
    text: (response) => response.text(),
    arrayBuffer: (response) => response.arrayBuffer(),
    blob: async (response) => (await response.blob()).text(),
    "its stream": async (response) => new Response(response.body).text(),
    "its stream, then json": async (response) => (
      expect(response.body).toBeInstanceOf(ReadableStream),
      response.json()
    ),
    "its stream, then text": async (response) => (expect(response.body).toBe(response.body), response.text()),
    "a clone": async (response) => Promise.all([response.clone().json(), response.text()]),
  };

  it.each(Object.entries(ways))("%s", async (_, read) => {
    const { fetch, server, policy, receipts } = await setUp();
    const init = { method: "POST", body: JSON.stringify({ model: GPT, messages }) };
    const response = await fetch(`${server.url}/chat/completions`, init);
    expect(response.bodyUsed).toBe(false);
    await read(response);
    expect(response.bodyUsed).toBe(true);
    expect(receipts).toMatchObject([{ estimated: false }]);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill), held: 0 });
    // Once only, and charged once.
    await expect(response.json()).rejects.toThrow(TypeError);
    expect(receipts).toHaveLength(1);
  });

  it("before the reader has it: what comes after it finds the money moved", async () => {
    const { openai, policy, server } = await setUp();
    const settled: number[] = [];
    await Promise.all(
      Array.from({ length: 5 }, async () => {
        await openai.chat.completions.create({ model: GPT, messages });
        settled.push((await spend(policy)).settled);
      }),
    );
    expect(settled.at(-1)).toBe(billedUsd(server.bill));
    for (const [done, usd] of settled.entries())
      expect(usd).toBeGreaterThanOrEqual(((done + 1) * billedUsd(server.bill)) / 5 - 1e-9);
  });
});
