/** A chat route that streams a governed LangChain chain (Hono): a budget for each user, and a user who leaves in the middle. */
import { PerUserBudgetRule, PolicyEngine, PolicyViolationError } from "@driftlock/core";
import { govern } from "@driftlock/langchain";
import { startOpenAIServer } from "@driftlock/openai-server";
import { serve } from "@hono/node-server";
import { StringOutputParser } from "@langchain/core/output_parsers";
import { ChatOpenAI } from "@langchain/openai";
import { Hono } from "hono";
import { streamText } from "hono/streaming";
import type { StreamingApi } from "hono/utils/stream";

// Stands in for OpenAI, so that this runs offline. It falls silent after 5 tokens of what Bob asks for.
await using server = await startOpenAIServer({
  reply: ({ body }) => (body.messages?.at(-1)?.content === "Bob asks" ? { hangAfterChunks: 5 } : {}),
});
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });

const rules = [new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 0.006 })];
const policy = new PolicyEngine({ rules, store: "memory" });
policy.on("call-settled", ({ labels, receipt }) =>
  console.log(`  ${labels["user_id"]} pays $${receipt.costUsd.toFixed(6)}${receipt.estimated ? ", estimated" : ""}`),
);
const model = govern(new ChatOpenAI({ model: "gpt-4o", maxTokens: 500 }), { policy });
const chain = model.pipe(new StringOutputParser());

const app = new Hono();
app.post("/chat", async (c) => {
  const user_id = c.req.header("x-user") ?? "nobody"; // from your session
  const left = new AbortController();
  try {
    const stream = await chain.stream(await c.req.text(), { signal: left.signal, metadata: { user_id } });
    const write = async (out: StreamingApi) => {
      out.onAbort(() => left.abort()); // the user left: so do we, and pay for what came
      for await (const text of stream) await out.write(text);
    };
    return streamText(c, write, async (error) => (left.signal.aborted ? undefined : console.error(error)));
  } catch (error) {
    const blocked = PolicyViolationError.find(error);
    if (blocked === undefined) throw error;
    return c.text(`Blocked by ${blocked.ruleName}`, 402);
  }
});

const web = serve({ fetch: app.fetch, port: 0 });
const address = web.address() as { port: number };
const ask = (user: string, body: string) =>
  fetch(`http://localhost:${address.port}/chat`, { method: "POST", headers: { "x-user": user }, body });

console.log(`ada: ${await (await ask("ada", "What is a budget?")).text()}`);
const bob = (await ask("bob", "Bob asks")).body!.getReader();
for (let bytes = 0; bytes < 20;) bytes += (await bob.read()).value!.length;
await bob.cancel();
await server.idle();

const refused = await ask("ada", "Tell me everything. ".repeat(200));
console.log(`ada: ${refused.status} ${await refused.text()}`);
web.close();
