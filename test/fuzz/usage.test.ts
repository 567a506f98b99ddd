import { MonthlyBudgetRule, usageFromOpenAI, type UsageReport } from "@driftlock/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectUnharmed, fuzz, outcome, policyOf, sound } from "./fuzz.js";
import {
  always,
  answering,
  fickle,
  hostile,
  listOf,
  nonsense,
  oddNumbers,
  Recipe,
  recordOf,
  spoiled,
} from "./hostile.js";

const usage = { inputTokens: 5, outputTokens: 5 };
const fields = ["cacheReadTokens", "cacheWriteTokens", "reasoningTokens", "costUsd", "model"];
const odd = oddNumbers.map(always);
const reports = fc.oneof(
  hostile(usage, ...fields),
  recordOf({ costUsd: odd }),
  recordOf({ inputTokens: odd, outputTokens: odd, cacheReadTokens: odd, reasoningTokens: odd }),
  fc.constant(new Recipe(() => fickle(5, NaN))),
);
/** A usage that can be true but costs more than what is left would leave no room to try. */
const roomy = () => policyOf([new MonthlyBudgetRule({ maxUsd: 8_000_000 })]);

async function expectNothingHeld(policy: ReturnType<typeof roomy>): Promise<void> {
  const [row] = await policy.usage();
  expect(row!.heldUsd).toBe(0);
  expect(row!.spentUsd).toBeGreaterThanOrEqual(0);
}

describe("a usage report", () => {
  it("that cannot be true is a UsageError, and the call is settled at its bound", async () => {
    await fuzz(800, reports, async (report) => {
      const policy = roomy();
      const auth = await policy.authorize(sound);
      const settled = await outcome(() => auth.settle(report.make() as UsageReport));
      if ("error" in settled) {
        expect(settled.error).toMatchObject({
          code: "INVALID_USAGE",
          receipt: { costUsd: auth.heldUsd, estimated: true },
        });
        expect((await policy.usage())[0]!.spentUsd).toBe(auth.heldUsd);
      } else {
        expect(Number.isFinite(settled.value.costUsd) && settled.value.costUsd >= 0).toBe(true);
      }
      await expectNothingHeld(policy);
      if ("error" in settled) await expectUnharmed(policyOf([new MonthlyBudgetRule({ maxUsd: 100 })]));
    });
  });

  it("never costs the caller of run an answer that was paid for", async () => {
    const finders = fc.oneof(
      fc.constant(undefined),
      fc.tuple(answering, reports).map(([answer, report]) => answer(report)),
    );
    const completion = hostile({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 5 } }, "usage");
    const streams = nonsense.map((value) => value.map((own) => ({ [Symbol.asyncIterator]: own })));
    const answers = fc.oneof(nonsense, completion, streams);
    await fuzz(800, fc.tuple(answers, finders), async ([recipe, find]) => {
      const policy = roomy();
      const answer = recipe.make();
      if (isThenable(answer)) return;
      const ran = await policy.run(sound, () => answer, find as never);
      expect(Object.is(ran, answer) || isAsyncIterable(answer)).toBe(true);
      if (Object.is(ran, answer)) await expectNothingHeld(policy);
    });
  });

  it("may come in any chunk of a stream, which passes through unchanged", async () => {
    const chunk = fc.oneof(
      nonsense,
      hostile({ choices: [{ delta: { content: "a" } }] }, "usage", "delta", "text", "response"),
    );
    await fuzz(500, fc.tuple(listOf(chunk, 4), fc.boolean()), async ([list, breaks]) => {
      const chunks = list.make();
      const policy = roomy();
      const stream = await policy.run(sound, () => source(chunks));
      const read: unknown[] = [];
      for await (const seen of stream) {
        read.push(seen);
        if (breaks) break;
      }
      expect(read.length).toBe(breaks ? Math.min(1, chunks.length) : chunks.length);
      for (const [i, seen] of read.entries()) expect(Object.is(seen, chunks[i])).toBe(true);
      await expectNothingHeld(policy);
    });
  });

  it("of a provider is read as far as it goes", async () => {
    const raw = hostile(
      { prompt_tokens: 5, completion_tokens: 5 },
      "input_tokens",
      "output_tokens",
      "total_tokens",
      "cost",
      "prompt_tokens_details",
      "completion_tokens_details",
    );
    await fuzz(300, raw, async (given) => {
      const policy = roomy();
      await policy.run(sound, () => ({ usage: given.make() }));
      await outcome(() => usageFromOpenAI(given.make()));
      await expectNothingHeld(policy);
    });
  });

  it("may come with any ticket", async () => {
    const policy = policyOf([new MonthlyBudgetRule({ maxUsd: 1_000 })]);
    await fuzz(
      300,
      fc.oneof(
        nonsense,
        nonsense.map((value) => value.map(encoded)),
      ),
      async (ticket) => {
        const settled = await outcome(() => policy.settle(ticket.make() as string, usage));
        expect(settled).toMatchObject({ error: { code: "INVALID_INPUT", field: "ticket" } });
      },
    );
    await expectUnharmed(policy);
  });

  it("closes a call by its ticket, unless the ticket was changed", async () => {
    await fuzz(
      400,
      fc.tuple(fc.constantFrom("call", "hold", "meter"), fc.nat(20), nonsense, reports),
      async ([part, at, value, report]) => {
        const policy = roomy();
        const other = roomy();
        const auth = await policy.authorize(sound);
        const call = decoded(auth.ticket);
        const hold = call["hold"] as Record<string, unknown>;
        const target = { call, hold, meter: (hold["meters"] as Record<string, unknown>[])[0]! }[part];
        const names = Object.keys(target);
        target[names[at % names.length]!] = value.make();
        const changed = encoded(call) as string;
        const settled = await outcome(() => other.settle(changed, report.make() as UsageReport));
        if ("value" in settled) expect(settled.value).not.toHaveProperty("pending");
        await auth.release();
        await expectNothingHeld(policy);
        await expectNothingHeld(other);
      },
    );
  });

  it("may be recorded with anything", async () => {
    const entries = hostile({ id: "a", costUsd: 0.01 }, "usage", "labels", "provider");
    const withUsage = spoiled(usage, ...fields, "model").map((given) => given.map((own) => ({ id: "b", usage: own })));
    await fuzz(500, fc.oneof(entries, withUsage), async (entry) => {
      const policy = roomy();
      await outcome(() => policy.record(entry.make() as never));
      await expectNothingHeld(policy);
    });
  });
});

/** Not a generator: that would await what it yields. */
function source(chunks: readonly unknown[]): AsyncIterable<unknown> {
  let at = 0;
  return {
    [Symbol.asyncIterator]: () => ({
      next: () =>
        Promise.resolve(at < chunks.length ? { done: false, value: chunks[at++] } : { done: true, value: undefined }),
    }),
  };
}

function isThenable(value: unknown): boolean {
  try {
    return typeof (value as { then?: unknown } | undefined)?.then === "function";
  } catch {
    return true;
  }
}

function isAsyncIterable(value: unknown): boolean {
  return typeof (value as { [Symbol.asyncIterator]?: unknown } | undefined)?.[Symbol.asyncIterator] === "function";
}

function encoded(value: unknown): unknown {
  try {
    return Buffer.from(JSON.stringify(value) ?? "").toString("base64url");
  } catch {
    return value;
  }
}

function decoded(ticket: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(ticket, "base64url").toString()) as Record<string, unknown>;
}
