/** A chat route that streams (Hono): a budget for each user, a refusal as an HTTP answer, and a user who leaves. */
import { PerUserBudgetRule, PolicyEngine, PolicyViolationError, withLabels } from "@driftlock/core";
import { governFetch } from "@driftlock/core/fetch";
import { startOpenAIServer } from "@driftlock/openai-server";
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { streamText } from "hono/streaming";
import OpenAI from "openai";

// Stands in for OpenAI, so that this runs offline. It falls silent after 5 tokens of what Bob asks for.
const silent = { hangAfterChunks: 5 };
await using server = await startOpenAIServer({
  reply: ({ body }) => (body.messages?.at(-1)?.content === "Bob asks" ? silent : {}),
});
Object.assign(process.env, { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "any" });

const rules = [new PerUserBudgetRule({ userBudgets: {}, defaultMaxUsd: 0.006 })];
const policy = new PolicyEngine({ rules, store: "memory" });
policy.on("call-settled", ({ labels, receipt }) =>
  console.log(`  ${labels["user_id"]} pays $${receipt.costUsd.toFixed(6)}${receipt.estimated ? ", estimated" : ""}`),
);
const openai = new OpenAI({ fetch: governFetch(policy) });

const app = new Hono();
app.post("/chat", async (c) => {
  const user_id = c.req.header("x-user") ?? "nobody"; // from your session
  const messages = [{ role: "user" as const, content: await c.req.text() }];
  const call = { model: "gpt-4o", messages, max_tokens: 500, stream: true as const };
  try {
    const stream = await withLabels({ user_id }, () => openai.chat.completions.create(call));
    return streamText(c, async (out) => {
      out.onAbort(() => stream.controller.abort()); // the user left: so do we, and pay for what came
      for await (const chunk of stream) await out.write(chunk.choices[0]?.delta.content ?? "");
    });
  } catch (error) {
    const blocked = PolicyViolationError.find(error);
    if (blocked === undefined) throw error;
    return c.text(`Blocked by ${blocked.ruleName}`, blocked.httpStatus === 429 ? 429 : 402);
  }
});

const web = serve({ fetch: app.fetch, port: 0 });
const address = web.address() as { port: number };
const ask = (user: string, body: string) =>
  fetch(`http://localhost:${address.port}/chat`, { method: "POST", headers: { "x-user": user }, body });

for (const user of ["ada", "ada"]) console.log(`${user}: ${await (await ask(user, "What is a budget?")).text()}`);

const bob = (await ask("bob", "Bob asks")).body!.getReader();
for (let bytes = 0; bytes < 20;) bytes += (await bob.read()).value!.length;
await bob.cancel();
await server.idle();

const refused = await ask("ada", "Tell me everything. ".repeat(200));
console.log(`ada: ${refused.status} ${await refused.text()}`);
web.close();
