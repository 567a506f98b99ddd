import { MonthlyBudgetRule, TagBasedModelDowngradeRule, withLabels, type Rule } from "@driftlock/core";
import { governEmbeddings } from "@driftlock/langchain";
import { FakeEmbeddings } from "@langchain/core/utils/testing";
import { OpenAIEmbeddings, type OpenAIEmbeddingsParams } from "@langchain/openai";
import { describe, expect, it } from "vitest";
import { billedUsd, failure, hurryRetries, perToken, setUp as setUpPriced, spend } from "./harness.js";

const small = "text-embedding-3-small";
const prices = { overrides: { [small]: perToken, fake: perToken } };

async function setUp(rules: readonly Rule[] = [new MonthlyBudgetRule({ maxUsd: 100 })]) {
  const given = await setUpPriced({ rules, prices });
  const own = (fields: Partial<OpenAIEmbeddingsParams> = {}) =>
    new OpenAIEmbeddings({
      model: small,
      apiKey: "any",
      maxRetries: 0,
      configuration: { baseURL: given.server.url },
      ...fields,
    });
  const { policy } = given;
  given.server.script({});
  return { ...given, own, governed: (fields = {}) => governEmbeddings(own(fields), { policy }) };
}

describe("governed embeddings", () => {
  it("give the same vectors, and are settled at what was billed", async () => {
    const { own, governed, policy, server, receipts } = await setUp();
    const texts = ["apples", "pears and plums"];
    expect(await governed().embedDocuments(texts)).toEqual(await own().embedDocuments(texts));
    expect(await governed().embedQuery("apples")).toEqual(await own().embedQuery("apples"));
    // Half of the requests were not governed.
    expect((await spend(policy)).settled).toBe(billedUsd(server.bill, perToken) / 2);
    expect(receipts).toMatchObject([{ estimated: false }, { estimated: false }]);
  });

  it("ask once for each request that goes out", async () => {
    const { governed, policy, server, receipts } = await setUp();
    const texts = Array.from({ length: 25 }, (_, i) => `text ${i}`);
    expect(await governed({ batchSize: 10 }).embedDocuments(texts)).toHaveLength(25);
    expect(server.requests).toHaveLength(3);
    expect(receipts).toHaveLength(3);
    expect(await spend(policy)).toEqual({ settled: billedUsd(server.bill, perToken), held: 0 });
    expect(await governed().embedDocuments([])).toEqual([]);
    expect(server.requests).toHaveLength(3);
  });

  it("keep a budget exactly: 100 parallel requests", async () => {
    const { governed, policy, server } = await setUp([new MonthlyBudgetRule({ maxUsd: 0.1 })]);
    const embeddings = governed();
    const results = await Promise.allSettled(Array.from({ length: 100 }, () => embeddings.embedQuery("apples")));
    const sent = results.filter(({ status }) => status === "fulfilled").length;
    expect(sent).toBeGreaterThan(0);
    expect(server.requests).toHaveLength(sent);
    const { settled, held } = await spend(policy);
    expect(settled).toBe(billedUsd(server.bill, perToken));
    expect(settled).toBeLessThanOrEqual(0.1);
    expect(held).toBe(0);
  });

  it("are refused where a rule refuses, and the refusal is not tried again", async () => {
    const { governed, policy, server } = await setUp([new MonthlyBudgetRule({ maxUsd: 0 })]);
    let denied = 0;
    policy.on("call-denied", () => void denied++);
    expect(await failure(governed({ maxRetries: 6 }).embedQuery("apples"))).toMatchObject({
      ruleName: "MonthlyBudgetRule",
    });
    expect(denied).toBe(1);
    expect(server.requests).toEqual([]);
  });

  it("are refused where a rule would change the model: its vectors would not fit", async () => {
    const { governed, server } = await setUp([
      new TagBasedModelDowngradeRule({ condition: () => true, downgradeTo: "fake" }),
    ]);
    expect(await failure(governed().embedQuery("apples"))).toMatchObject({ ruleName: "TagBasedModelDowngradeRule" });
    expect(server.requests).toEqual([]);
  });

  it("try again as often as they were made to, and each attempt is accounted", async () => {
    hurryRetries();
    const { governed, policy, server, receipts } = await setUp();
    server.script([{ status: 500, usage: {} }, { status: 429, retryAfterMs: 1 }, {}]);
    await governed({ maxRetries: 3 }).embedQuery("apples");
    expect(server.requests).toHaveLength(3);
    expect(receipts).toHaveLength(2);
    expect((await spend(policy)).settled).toBeGreaterThanOrEqual(billedUsd(server.bill, perToken));
  });

  it("of another package are settled at the bound of their texts", async () => {
    const { policy, receipts } = await setUp();
    const embeddings = governEmbeddings(new FakeEmbeddings(), { policy, model: "fake" });
    expect(await embeddings.embedDocuments(["apples", "pears"])).toHaveLength(2);
    expect(receipts).toMatchObject([{ estimated: true, costUsd: receipts[0]!.heldUsd }]);
    expect(() => governEmbeddings(new FakeEmbeddings(), { policy })).toThrow("name it with the option model");
  });

  it("have the list price of their provider", async () => {
    const { policy, receipts } = await setUpPriced({ rules: [new MonthlyBudgetRule({ maxUsd: 1 })], prices: {} });
    const ada = new FakeEmbeddings();
    const model = "text-embedding-ada-002";
    await governEmbeddings(ada, { policy, model, provider: "openai" }).embedQuery("apples");
    // $0.10 per million tokens, and 10 at most: 6 bytes and what some models add.
    expect(receipts).toMatchObject([{ model, costUsd: 0.000001 }]);
    const odd = governEmbeddings(ada, { policy, model, provider: "nobody" });
    expect(await failure(odd.embedQuery("apples"))).toMatchObject({ name: "UnknownModelError" });
  });

  it("carry the labels of the application", async () => {
    const { own, policy } = await setUp([new MonthlyBudgetRule({ maxUsd: 100, scope: "user" })]);
    await withLabels({ user_id: "ada" }, () => governEmbeddings(own(), { policy }).embedQuery("apples"));
    await governEmbeddings(own(), { policy, labels: { user_id: "bob" } }).embedQuery("apples");
    for (const user_id of ["ada", "bob"]) expect((await spend(policy, { user_id })).settled).toBeGreaterThan(0);
  });

  it("leave the embeddings they were made from as they were", async () => {
    const { own, policy } = await setUp();
    const mine = own({ maxRetries: 5 });
    const before = Object.entries(mine);
    await governEmbeddings(mine, { policy }).embedQuery("apples");
    expect(Object.entries(mine)).toEqual(before);
  });
});

it("a callback handler sees no embeddings: the README says so", async () => {
  const { own, receipts, server } = await setUp();
  await own().embedQuery("apples");
  expect(server.requests).toHaveLength(1);
  expect(receipts).toEqual([]);
});
