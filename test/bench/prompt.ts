import { chunkedTokenizer, MonthlyBudgetRule, PolicyEngine } from "@driftlock/core";
import { countTokens } from "gpt-tokenizer";
import { compare, round, type Effort, type Repeat, type Result } from "./measure.js";
import { engine } from "./policies.js";

const BYTES = 100 * 1_024;

/** The worst prompt for a tokenizer: one letter, 100 KB of it. Every prompt is a new text, so nothing can be remembered. */
export async function prompt(effort: Effort): Promise<Result[]> {
  const plain = { disallowedSpecial: new Set<string>() };
  const tokenizer = chunkedTokenizer((text) => countTokens(text, plain));
  const rules = [new MonthlyBudgetRule({ maxUsd: 5_000_000 })];
  const cases = [
    ["the default bound", engine(rules), LATIN],
    ["the default bound, Chinese", engine(rules), CHINESE],
    ["with gpt-tokenizer", new PolicyEngine({ rules, store: "memory", tokenizer }), LATIN],
  ] as const;
  const results: Result[] = [];
  for (const [name, policy, script] of cases) {
    const { subject, lowerBound, rounds } = await compare(authorized(policy, script), bareBytes(script), effort);
    const [median, bare] = [subject / 1_000, lowerBound / 1_000];
    results.push({
      bench: `prompt of 100 KB of one letter: ${name}`,
      median: round(median),
      unit: "ms",
      lowerBound: round(bare),
      ratio: round(median / bare),
      target: "< 5 ms",
      met: median < 5,
      runs: rounds,
    });
  }
  return results;
}

interface Script {
  /** The first of 26 letters. */
  readonly from: number;
  /** Of one letter in UTF-8. */
  readonly bytes: number;
}

const LATIN: Script = { from: 0x61, bytes: 1 };
const CHINESE: Script = { from: 0x4e00, bytes: 3 };

let texts = 0;

/** A flat string not seen before: one letter, and a number at its end. */
function text({ from, bytes }: Script): string {
  const number = String(texts++);
  const letter = String.fromCharCode(from + (texts % 26));
  return Buffer.from(letter.repeat(Math.floor(BYTES / bytes)) + number).toString();
}

function authorized(policy: PolicyEngine, script: Script): Repeat {
  return async (n) => {
    for (let i = 0; i < n; i++) {
      const auth = await policy.authorize({ model: "gpt-4o", messages: [{ role: "user", content: text(script) }] });
      await auth.release();
    }
  };
}

/** Making the text and asking for its bytes. */
function bareBytes(script: Script): Repeat {
  return (n) => {
    let bytes = 0;
    for (let i = 0; i < n; i++) bytes += Buffer.byteLength(text(script));
    if (bytes === 0) throw new Error("nothing was counted");
  };
}
