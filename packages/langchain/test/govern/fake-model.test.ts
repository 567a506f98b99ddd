import { MonthlyBudgetRule } from "@driftlock/core";
import { govern } from "@driftlock/langchain";
import { AIMessage } from "@langchain/core/messages";
import { fakeModel } from "@langchain/core/testing";
import { tool } from "@langchain/core/tools";
import { createAgent } from "langchain";
import { expect, it } from "vitest";
import { z } from "zod";
import { setUp } from "../harness.js";

const rules = [new MonthlyBudgetRule({ maxUsd: 100 })];
const weather = tool(({ city }: { city: string }) => `sunny in ${city}`, {
  name: "weather",
  description: "tells the weather",
  schema: z.object({ city: z.string() }),
});

it("fakeModel() answers in an agent, with tools, each call metered", async () => {
  const { policy, receipts } = await setUp({ rules });
  const fake = fakeModel()
    .respondWithTools([{ name: "weather", args: { city: "Bonn" } }])
    .respond(new AIMessage("sunny"));
  const agent = createAgent({ model: govern(fake, { policy, model: "gpt-4o" }), tools: [weather] });
  const { messages } = await agent.invoke({ messages: [{ role: "user", content: "Weather?" }] });
  expect(messages.at(-1)!.text).toBe("sunny");
  expect(receipts).toHaveLength(2);
});

it("fakeModel() gives its structured response, settled at the bound", async () => {
  const { policy, receipts } = await setUp({ rules });
  const model = govern(fakeModel().structuredResponse({ city: "Bonn" }), { policy, model: "gpt-4o" });
  expect(await model.withStructuredOutput(z.object({ city: z.string() })).invoke("Where?")).toEqual({ city: "Bonn" });
  expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
});
