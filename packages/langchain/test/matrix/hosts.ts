import type { BaseMessage } from "@langchain/core/messages";
import { RunnableLambda, type RunnableConfig } from "@langchain/core/runnables";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { createReactAgent } from "@langchain/langgraph/prebuilt";
import {
  createAgent,
  modelFallbackMiddleware,
  modelRetryMiddleware,
  tool,
  toolRetryMiddleware,
  type AnyAgentMiddleware,
} from "langchain";
import { z } from "zod";
import { collect } from "../harness.js";
import type { Parts } from "./ways.js";

type State = typeof MessagesAnnotation.State;

/** Something of LangChain that would call the model at least twice, and once more if it is let. */
export interface Host {
  readonly run: (parts: Parts) => Promise<unknown>;
  /** It is, or contains, an agent of `createAgent`: what the middleware is for. */
  readonly isAgent: boolean;
}

const question = { messages: [{ role: "user", content: "Hi" }] };
const shape = { name: "search", description: "searches", schema: z.object({ query: z.string() }) };
const search = tool(() => "found", shape);
const fast = { initialDelayMs: 1, jitter: false };

/** The rows of the matrix. */
export const hosts: Readonly<Record<string, Host>> = {
  "a model, called twice": plain(async ({ model, config }) => {
    const one = model();
    await one.invoke("Hi", config);
    return one.invoke("Hi", config);
  }),
  "a chain (LCEL) of two calls": plain(({ model, config }) => {
    const again = RunnableLambda.from((message: BaseMessage) => [message]);
    return model().pipe(again).pipe(model()).invoke("Hi", config);
  }),
  "`batch` of three": plain(({ model, config }) => model().batch(["a", "b", "c"], config)),
  "`stream`, twice": plain(async ({ model, config }) => {
    const one = model();
    await collect(await one.stream("Hi", config));
    return collect(await one.stream("Hi", config));
  }),
  createAgent: agent(({ model, middleware, config }) =>
    createAgent({ model: model(), tools: [search], middleware: middleware() }).invoke(question, config),
  ),
  "… with modelRetry": agent((parts) => withMiddleware(parts, modelRetryMiddleware(fast))),
  "… with modelFallback": agent((parts) => withMiddleware(parts, modelFallbackMiddleware(parts.model()))),
  "… with toolRetry, and a tool that asks a model": agent(({ model, middleware, config }) => {
    const asks = tool(async (_, inner: RunnableConfig) => (await model().invoke("Hi", inner)).text, shape);
    const retrying = [...middleware(), toolRetryMiddleware(fast)];
    return createAgent({ model: model(), tools: [asks], middleware: retrying }).invoke(question, config);
  }),
  "… with a subagent as a tool": agent(({ model, middleware, config }) => {
    const child = createAgent({ model: model(), tools: [], middleware: middleware() });
    const asks = tool(
      async (_, inner: RunnableConfig) => (await child.invoke(question, inner)).messages.at(-1)!.text,
      shape,
    );
    return createAgent({ model: model(), tools: [asks], middleware: middleware() }).invoke(question, config);
  }),
  createReactAgent: plain(({ model, config }) =>
    createReactAgent({ llm: model(), tools: [search] }).invoke(question, config),
  ),
  "a node of LangGraph, with its retry policy": plain(({ model, config }) => {
    const ask = asking(model);
    return new StateGraph(MessagesAnnotation)
      .addNode("first", ask)
      .addNode("second", ask, { retryPolicy: { initialInterval: 1, jitter: false, logWarning: false } })
      .addEdge(START, "first")
      .addEdge("first", "second")
      .addEdge("second", END)
      .compile()
      .invoke(question, config);
  }),
  "parallel nodes of LangGraph": plain(({ model, config }) => {
    const ask = asking(model);
    return new StateGraph(MessagesAnnotation)
      .addNode("first", ask)
      .addNode("left", ask)
      .addNode("right", ask)
      .addEdge(START, "first")
      .addEdge("first", "left")
      .addEdge("first", "right")
      .addEdge("left", END)
      .addEdge("right", END)
      .compile()
      .invoke(question, config);
  }),
  "`withRetry`, called twice": plain(async ({ model, config }) => {
    const retrying = model().withRetry({ stopAfterAttempt: 2 });
    await retrying.invoke("Hi", config);
    return retrying.invoke("Hi", config);
  }),
  "`withFallbacks`, called twice": plain(async ({ model, config }) => {
    const falling = model().withFallbacks([model()]);
    await falling.invoke("Hi", config);
    return falling.invoke("Hi", config);
  }),
};

function asking(model: Parts["model"]) {
  return async ({ messages }: State, inner: RunnableConfig): Promise<Partial<State>> => ({
    messages: [await model().invoke(messages, inner)],
  });
}

function plain(run: Host["run"]): Host {
  return { run, isAgent: false };
}

function agent(run: Host["run"]): Host {
  return { run, isAgent: true };
}

function withMiddleware({ model, middleware, config }: Parts, other: AnyAgentMiddleware): Promise<unknown> {
  const all = [...middleware(), other];
  const looping = createAgent({ model: model(), tools: [search], middleware: all });
  return looping.invoke(question, config);
}
