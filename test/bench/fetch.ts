import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { governFetch, type Fetch } from "@driftlock/core/fetch";
import { compare, median, round, type Effort, type Repeat, type Result } from "./measure.js";
import { engine, PROMPT, threeRules } from "./policies.js";

/** A client's call through `governFetch`, against the same call through the bare `fetch`. */
export async function fetches(effort: Effort): Promise<Result[]> {
  return [await wholeCall(effort), await stream(effort)];
}

/** 1 KB of prompt, an answer of 1 KB, no network: what a call costs more. */
async function wholeCall(effort: Effort): Promise<Result> {
  const bare: Fetch = async () => new Response(ANSWER, { headers: { "content-type": "application/json" } });
  const governed = governFetch(engine(threeRules()), { fetch: bare });
  const { subject, lowerBound, rounds } = await compare(called(governed), called(bare), effort);
  return {
    bench: "governFetch: a call of 1 KB in JSON, 3 rules",
    median: round(subject),
    unit: "µs/op",
    lowerBound: round(lowerBound),
    ratio: round(subject / lowerBound),
    target: "≤ 60 µs over the bare fetch",
    met: subject - lowerBound <= 60,
    runs: rounds,
    note: `${round(subject - lowerBound)} µs over a fetch that answers from memory`,
  };
}

const BODY = JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: PROMPT }] });
const ANSWER = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "gpt-4o-2024-08-06",
  choices: [{ index: 0, message: { role: "assistant", content: PROMPT.slice(0, 700) }, finish_reason: "stop" }],
  usage: { prompt_tokens: 250, completion_tokens: 120, total_tokens: 370 },
});

function called(fetch: Fetch): Repeat {
  return async (n) => {
    for (let i = 0; i < n; i++) {
      const headers = new Headers({ authorization: "Bearer any", "content-type": "application/json" });
      const response = await fetch("http://localhost/v1/chat/completions", { method: "POST", body: BODY, headers });
      await response.json();
    }
  };
}

const CHUNKS = 10_000;

/** A stream from another process, each chunk sent by itself and parsed by the reader: what a stream takes longer. */
async function stream({ processes }: Effort): Promise<Result> {
  const rounds = 3 * processes;
  const server = spawn(process.execPath, ["--input-type=module", "--eval", SERVER], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const url = `http://127.0.0.1:${await portOf(server)}/v1/chat/completions`;
    const governed = governFetch(engine(threeRules()));
    const times = { governed: [] as number[], bare: [] as number[] };
    for (let i = -2; i < rounds; i++) {
      // In turns, each side first every other time.
      for (const side of i % 2 === 0 ? (["governed", "bare"] as const) : (["bare", "governed"] as const)) {
        const took = await read(url, side === "governed" ? governed : fetch);
        if (i >= 0) times[side].push(took);
      }
    }
    const [subject, lowerBound] = [median(times.governed), median(times.bare)];
    // Of two rounds next to each other: what slows the machine for longer slows both.
    const ratio = median(times.governed.map((time, i) => time / times.bare[i]!));
    return {
      bench: `governFetch: a stream of ${CHUNKS} chunks over HTTP, read and parsed`,
      median: round(subject),
      unit: "ms",
      lowerBound: round(lowerBound),
      ratio: round(ratio),
      target: "ratio ≤ 1.05",
      met: ratio <= 1.05,
      runs: rounds,
    };
  } finally {
    server.kill();
  }
}

/** ms for a whole stream. */
async function read(url: string, fetch: Fetch): Promise<number> {
  const body = JSON.stringify({ model: "gpt-4o", messages: [], stream: true, stream_options: { include_usage: true } });
  const start = performance.now();
  const response = await fetch(url, { method: "POST", body });
  const decoder = new TextDecoder();
  let [rest, seen] = ["", 0];
  for await (const bytes of response.body!) {
    const events = (rest + decoder.decode(bytes, { stream: true })).split("\n\n");
    rest = events.pop()!;
    for (const event of events) if (event.startsWith("data: {") && JSON.parse(event.slice(6)) !== null) seen++;
  }
  if (seen !== CHUNKS + 1) throw new Error(`${seen} chunks came`);
  return performance.now() - start;
}

const SERVER = `
  import { createServer } from "node:http";
  const chunk = (choices, usage) => "data: " + JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1,
    model: "gpt-4o-2024-08-06", service_tier: "default", system_fingerprint: null, choices, usage }) + "\\n\\n";
  createServer(async (request, response) => {
    request.resume();
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (let i = 0; i < ${CHUNKS}; i++) {
      const text = chunk([{ index: 0, delta: { content: " word" + (i % 10) }, logprobs: null, finish_reason: null }], null);
      await new Promise((sent) => response.write(text, sent));
    }
    response.write(chunk([], { prompt_tokens: 5, completion_tokens: ${CHUNKS} }));
    response.end("data: [DONE]\\n\\n");
  }).listen(0, "127.0.0.1", function () { console.log(this.address().port); });`;

async function portOf({ stdout }: ChildProcess): Promise<number> {
  const [line] = (await once(createInterface(stdout!), "line")) as [string];
  return Number(line);
}
