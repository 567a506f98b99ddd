import type { PolicyEngine } from "@driftlock/core";
import { govern, governEmbeddings } from "@driftlock/langchain";
import type { Embeddings } from "@langchain/core/embeddings";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { AIMessageChunk } from "@langchain/core/messages";
import type { ChatOpenAI, ChatOpenAICallOptions, OpenAIEmbeddings } from "@langchain/openai";
import { describe, expectTypeOf, it } from "vitest";
import { z } from "zod";

declare const policy: PolicyEngine;
declare const openai: ChatOpenAI;

describe("a governed model", () => {
  const model = govern(openai, { policy });

  it("is a chat model, with the call options of the model inside", () => {
    expectTypeOf(model).toExtend<BaseChatModel>();
    expectTypeOf(model.invoke).parameter(1).toEqualTypeOf<Partial<ChatOpenAICallOptions> | undefined>();
    expectTypeOf(model.invoke).returns.resolves.toEqualTypeOf<AIMessageChunk>();
  });

  it("stays governed when tools or a config are bound", () => {
    expectTypeOf(model.withConfig({ tags: [] })).toEqualTypeOf(model);
    expectTypeOf(model.bindTools!([])).toEqualTypeOf(model);
  });

  it("answers in the type of its schema", () => {
    const structured = model.withStructuredOutput(z.object({ city: z.string() }));
    expectTypeOf(structured.invoke).returns.resolves.toEqualTypeOf<{ city: string }>();
  });

  it("has models by name, as a record or a function", () => {
    govern(openai, { policy, models: { "gpt-4o-mini": openai } });
    govern(openai, { policy, models: (name) => (name === "gpt-4o-mini" ? openai : undefined) });
    govern(openai, { policy, models: async () => openai });
    // @ts-expect-error a name is no model
    govern(openai, { policy, models: { "gpt-4o-mini": "gpt-4o-mini" } });
    // @ts-expect-error the policy is asked for everything
    govern(openai, {});
  });
});

it("governed embeddings are embeddings", () => {
  expectTypeOf(governEmbeddings({} as OpenAIEmbeddings, { policy })).toEqualTypeOf<Embeddings>();
});
