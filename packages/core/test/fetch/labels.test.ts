import { ChatOpenAI } from "@langchain/openai";
import { describe, expect, it } from "vitest";
import { withLabels } from "../../src/ambient/ambient.js";
import type { Context } from "../../src/domain/context.js";
import type { FetchRequest, GovernFetchOptions } from "../../src/fetch/index.js";
import { RuleDecision } from "../../src/policy/decision.js";
import { failure } from "../engine/kit.js";
import { GPT, messages, setUp } from "./kit.js";

/** Clients of a policy that writes down whom each call was for, beside what it asked. */
async function setUpWatched(fetch: GovernFetchOptions = {}) {
  const seen: { labels: Record<string, string>; asked: unknown }[] = [];
  const watch = {
    name: "Watch",
    evaluate({ labels, messages: asked }: Context) {
      seen.push({ labels: { ...labels }, asked: (asked.at(-1) as { content: unknown }).content });
      return RuleDecision.allow();
    },
  };
  return { ...(await setUp({ policy: { rules: [watch], defaultLabels: { app: "shop" } }, fetch })), seen };
}

const users = Array.from({ length: 12 }, (_, i) => `user-${i}`);
const header = (user: string) => ({
  headers: { "x-driftlock-labels": new URLSearchParams({ user_id: user }).toString() },
});

describe("labels of a call", () => {
  it("come from the policy, then withLabels around the call, then the option", async () => {
    const { openai, seen } = await setUpWatched({ labels: { team: "search" } });
    await withLabels({ user_id: "ada", team: "none" }, () => openai.chat.completions.create({ model: GPT, messages }));
    expect(seen.map(({ labels }) => labels)).toEqual([{ app: "shop", user_id: "ada", team: "search" }]);
  });

  it("may be a function of the request; what it leaves undefined is not given", async () => {
    const requests: FetchRequest[] = [];
    const labels = async (request: FetchRequest) => {
      requests.push(request);
      return { user_id: request.body["user"] as string | undefined, trace: request.headers.get("x-trace") ?? "none" };
    };
    const { openai, seen, server } = await setUpWatched({ labels });
    await openai.chat.completions.create({ model: GPT, messages, user: "ada" }, { headers: { "x-trace": "7" } });
    await openai.responses.create({ model: GPT, input: "Hi" });
    expect(seen.map((one) => one.labels)).toEqual([
      { app: "shop", user_id: "ada", trace: "7" },
      { app: "shop", trace: "none" },
    ]);
    expect(requests[0]).toMatchObject({
      url: `${server.url}/chat/completions`,
      endpoint: "/chat/completions",
      model: GPT,
      body: { model: GPT, messages, user: "ada" },
    });
    expect(requests[1]).toMatchObject({ endpoint: "/responses" });
  });

  it("are not taken from `user` by themselves: whoever fills the body would choose whose budget is used", async () => {
    const { openai, seen } = await setUpWatched();
    await openai.chat.completions.create({ model: GPT, messages, user: "ada" });
    expect(seen[0]!.labels).toEqual({ app: "shop" });
  });

  it.each([
    ["no text", () => ({ user_id: 7 as never })],
    ["too long", () => ({ user_id: "x".repeat(257) })],
    ["nothing that holds labels", () => "ada" as never],
  ])("that are %s refuse the call", async (_, labels) => {
    const { openai, server } = await setUpWatched({ labels });
    const error = await failure(openai.chat.completions.create({ model: GPT, messages }));
    expect(error).toMatchObject({ status: 400, code: "INVALID_INPUT" });
    expect(server.requests).toEqual([]);
  });

  it("refuse the call when their function throws: nobody's budget is not everybody's", async () => {
    const labels = () => Promise.reject(new Error("no such session"));
    const { openai, server } = await setUpWatched({ labels });
    const error = await failure(openai.chat.completions.create({ model: GPT, messages }));
    expect(error).toMatchObject({ status: 400, param: "labels" });
    expect((error as Error).message).toContain("no such session");
    expect(server.requests).toEqual([]);
  });
});

describe("the header x-driftlock-labels", () => {
  it("gives labels where it is on, under those the application says itself", async () => {
    const { openai, seen } = await setUpWatched({ labelsHeader: true, labels: { plan: "free" } });
    const text = new URLSearchParams({ user_id: "ädä & co", plan: "pro", thread: "t=1" }).toString();
    await withLabels({ user_id: "somebody else" }, () =>
      openai.chat.completions.create({ model: GPT, messages }, { headers: { "x-driftlock-labels": text } }),
    );
    expect(seen[0]!.labels).toEqual({ app: "shop", user_id: "ädä & co", plan: "free", thread: "t=1" });
  });

  it("under those of a function, too", async () => {
    const labels = ({ headers }: FetchRequest) => ({ plan: headers.get("x-plan") ?? undefined });
    const { openai, seen } = await setUpWatched({ labelsHeader: true, labels });
    const headers = { "x-driftlock-labels": "user_id=ada&plan=pro", "x-plan": "free" };
    await openai.chat.completions.create({ model: GPT, messages }, { headers });
    expect(seen[0]!.labels).toEqual({ app: "shop", user_id: "ada", plan: "free" });
  });

  it("gives none where it is off, and is never sent on", async () => {
    for (const labelsHeader of [false, true]) {
      const { openai, seen, server, fetch } = await setUpWatched({ labelsHeader });
      await openai.chat.completions.create({ model: GPT, messages }, header("ada"));
      await openai.models.list(header("ada"));
      await fetch(new Request(`${server.url}/models`, header("ada")));
      await fetch(`${server.url}/models`, { headers: [["X-Driftlock-Labels", "user_id=ada"]] });
      expect(seen[0]!.labels).toEqual(labelsHeader ? { app: "shop", user_id: "ada" } : { app: "shop" });
      expect(server.requests).toHaveLength(4);
      for (const { headers } of server.requests) expect(headers).not.toHaveProperty("x-driftlock-labels");
    }
  });

  it.each(["", "user_id=ada&user_id=bob", `user_id=${"x".repeat(257)}`, "=ada"])(
    "that cannot be read refuses the call: %j",
    async (text) => {
      const { openai, server } = await setUpWatched({ labelsHeader: true });
      const sent = openai.chat.completions.create(
        { model: GPT, messages },
        { headers: { "x-driftlock-labels": text } },
      );
      expect(await failure(sent)).toMatchObject({ status: 400, code: "INVALID_INPUT" });
      expect(server.requests).toEqual([]);
    },
  );
});

describe("calls side by side keep their labels apart", () => {
  /** How many calls were made in the name of the user who asked. */
  const right = (seen: { labels: Record<string, string>; asked: unknown }[]) =>
    seen.filter(({ labels, asked }) => labels["user_id"] === asked).length;

  it("through the openai SDK, by withLabels", async () => {
    const { openai, seen } = await setUpWatched();
    await Promise.all(
      users.map((user) =>
        withLabels({ user_id: user }, () =>
          openai.chat.completions.create({ model: GPT, messages: [{ role: "user", content: user }] }),
        ),
      ),
    );
    expect([right(seen), seen.length]).toEqual([12, 12]);
  });

  async function throughChatOpenAI(maxConcurrency: number | undefined, fetch: GovernFetchOptions = {}) {
    const { server, seen, fetch: governed } = await setUpWatched(fetch);
    const configuration = { baseURL: server.url, fetch: governed };
    const chat = new ChatOpenAI({
      model: GPT,
      apiKey: "any",
      configuration,
      ...(maxConcurrency && { maxConcurrency }),
    });
    await Promise.all(
      users.map((user) =>
        withLabels({ user_id: user }, () => chat.invoke(user, fetch.labelsHeader ? { options: header(user) } : {})),
      ),
    );
    return seen;
  }

  it("through ChatOpenAI, by withLabels", async () => {
    const seen = await throughChatOpenAI(undefined);
    expect([right(seen), seen.length]).toEqual([12, 12]);
  });

  // What the README warns of: a call that waited in a queue runs in the context of whoever let it out.
  it("but not in ChatOpenAI's queue (maxConcurrency), where withLabels is another tenant's", async () => {
    const seen = await throughChatOpenAI(1);
    expect([right(seen), seen.length]).toEqual([1, 12]);
  });

  it.each([1, 3])("there by the header: maxConcurrency %i", async (maxConcurrency) => {
    const seen = await throughChatOpenAI(maxConcurrency, { labelsHeader: true });
    expect([right(seen), seen.length]).toEqual([12, 12]);
  });
});
