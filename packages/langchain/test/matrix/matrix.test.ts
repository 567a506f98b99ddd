import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { PolicyViolationError } from "@driftlock/core";
import { startOpenAIServer } from "@driftlock/openai-server";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { hosts } from "./hosts.js";
import { tableOf } from "./table.js";
import { policyOf, ways, type Stop } from "./ways.js";

type WayName = keyof typeof ways;

/** What became of one host in one way. */
interface Cell {
  /** Calls that reached the provider beyond the one there was room for. */
  readonly after: number;
  /** How often the policy refused: more than once shows that somebody tried again. */
  readonly refusals: number;
  /** How the refusal reaches the caller. */
  readonly arrives: string;
}

/** Calls that a model with tools goes on to make, if it is let. */
const MOST = 4;

async function play(host: string, way: WayName, stop: Stop): Promise<Cell> {
  await using server = await startOpenAIServer();
  server.script(({ body }) => ({
    usage: { completionTokens: 100 },
    ...((body.tools?.length ?? 0) > 0 &&
      server.requests.length < MOST && { toolCalls: [{ name: "search", arguments: { query: "x" } }] }),
  }));
  const policy = policyOf(way, stop, server);
  let refusals = 0;
  policy.on("call-denied", () => void refusals++);
  const arrives = await ways[way](server, policy, hosts[host]!.run).then(asAnswer, asError);
  await server.idle();
  await policy.close();
  return { after: server.requests.length - 1, refusals, arrives };
}

function asError(error: unknown): string {
  if (PolicyViolationError.isInstance(error)) return "the error itself";
  const { name, message } = error as Error;
  if (PolicyViolationError.find(error) !== undefined) return `inside ${name}`;
  return `${name}: ${message}`;
}

function asAnswer(answer: unknown): string {
  const said = JSON.stringify(answer);
  return said.includes("Blocked by") ? "an answer in its place" : "no trace";
}

function textOf({ after, refusals, arrives }: Cell): string {
  return `${after} · ${arrives}${refusals > 1 ? `, refused ${refusals} times` : ""}`;
}

const names = Object.keys(ways) as WayName[];
const heads = names.map((name) => (name === "mission (signal)" ? "killed mission" : `\`${name}\``));
const all = Object.keys(hosts);
const agents = all.filter((host) => hosts[host]!.isAgent);

/** Plays all hosts in all ways, except the middleware where there is no agent. */
async function playAll(rows: readonly string[], columns: readonly WayName[], stop: Stop) {
  const cells = new Map<string, Cell>();
  const isPlayed = (host: string, way: WayName) => way !== "middleware" || hosts[host]!.isAgent;
  // LangChain writes every refusal to the console.
  const log = vi.spyOn(console, "error").mockImplementation(() => {});
  for (const host of rows) {
    const played = columns.filter((way) => isPlayed(host, way));
    await Promise.all(played.map(async (way) => cells.set(`${host} ${way}`, await play(host, way, stop))));
  }
  log.mockRestore();
  const at = (host: string, way: WayName) => cells.get(`${host} ${way}`);
  const table = tableOf(
    ["", ...columns.map((way) => heads[names.indexOf(way)]!)],
    rows.map((host) => [host, ...columns.map((way) => (isPlayed(host, way) ? textOf(at(host, way)!) : "–"))]),
  );
  return { at, table };
}

const readme = readFileSync(fileURLToPath(new URL("../../README.md", import.meta.url)), "utf8");

describe("where a stop really stops: the budget is used up", () => {
  let played: Awaited<ReturnType<typeof playAll>>;
  beforeAll(async () => {
    played = await playAll(all, names, "a used-up budget");
  }, 60_000);

  it.each(all)("%s: nothing reaches the provider after the stop", (host) => {
    for (const way of names) expect(played.at(host, way)?.after ?? 0).toBe(0);
  });

  it.each(agents)("%s: the middleware and a killed mission end it with the error itself", (host) => {
    expect(played.at(host, "middleware")!.arrives).toBe("the error itself");
    expect(played.at(host, "mission (signal)")!.arrives).toBe("the error itself");
  });

  it("is the table of the README", async () => {
    // `vitest -u` writes it anew.
    await expect(played.table).toMatchFileSnapshot("./budget.md");
    expect(readme).toContain(played.table);
  });
});

describe("where a stop really stops: one call is refused, and the next one would pass", () => {
  const columns: readonly WayName[] = ["handler", "govern", "middleware"];
  let played: Awaited<ReturnType<typeof playAll>>;
  beforeAll(async () => {
    played = await playAll(agents, columns, "one refused call");
  }, 60_000);

  it.each(agents)("%s: the middleware ends the run, and nothing reaches the provider", (host) => {
    expect(played.at(host, "middleware")).toMatchObject({ after: 0, arrives: "the error itself" });
  });

  it("is the table of the README", async () => {
    await expect(played.table).toMatchFileSnapshot("./call.md");
    expect(readme).toContain(played.table);
  });
});
