import type { PolicyEngineOptions } from "@driftlock/core";
import {
  driftlockMiddleware,
  type DriftlockMiddlewareOptions,
  type MissionIdentity,
} from "@driftlock/langchain/middleware";
import type { ReceivedRequest, Reply } from "@driftlock/openai-server";
import { tool } from "langchain";
import { onTestFinished, vi } from "vitest";
import { z } from "zod";
import { chatOn, setUp } from "../harness.js";

/** A server, a policy over it, and what agents are made of: a plain model, and the middleware that governs it. */
export async function setUpAgent(options: PolicyEngineOptions) {
  const kit = await setUp(options);
  const model = (fields = {}) => chatOn(kit.server, { maxTokens: 100, ...fields });
  const governing = <Mission extends MissionIdentity>(more: Partial<DriftlockMiddlewareOptions<Mission>> = {}) =>
    driftlockMiddleware<Mission>({ policy: kit.policy, ...more });
  return { ...kit, model, governing };
}

/** A question, as an agent is asked. */
export const question = { messages: [{ role: "user", content: "Hi" }] };

/** The contents of a request's messages, in order. */
export function contents({ body }: ReceivedRequest): unknown[] {
  return (body.messages ?? []).map(({ content }) => content);
}

/** A reply that calls tools: `calls("search", "search")`. */
export function calls(...names: string[]): Reply {
  return {
    toolCalls: names.map((name) => ({ name, arguments: { query: "x" } })),
    usage: { completionTokens: 100 },
  };
}

/** A reply in words. */
export const words: Reply = { text: "done", usage: { completionTokens: 100 } };

/** A tool, and how often it ran. */
export function counted(name: string, run: () => unknown = () => "found") {
  const ran = vi.fn(async () => String(await run()));
  return Object.assign(tool(ran, { name, description: name, schema: z.object({ query: z.string() }) }), { ran });
}

/** Warnings of a code that this process was given during the test. */
export function warnings(code: string): () => number {
  const seen: unknown[] = [];
  const listen = vi.spyOn(process, "emitWarning").mockImplementation((_text, options) => {
    seen.push((options as { code?: string } | undefined)?.code);
  });
  onTestFinished(() => listen.mockRestore());
  return () => seen.filter((one) => one === code).length;
}
