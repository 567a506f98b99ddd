/** How the demo looks; what it does stands in `src/demo.ts`. */
import type { PolicyEngine, PolicyViolationError, Receipt, UsageRow } from "@driftlock/core";
import type { UsageMetadata } from "@langchain/core/messages";

const usd = (amount: number) => `$${amount.toFixed(5)}`;
/** Characters of a column; a negative width aligns to the left. */
const widths = [4, -10, 9, 10, 10, 10, 12];

function row(...cells: readonly (string | number)[]): void {
  const padded = cells.map((cell, i) => {
    const width = widths[i]!;
    return width < 0 ? String(cell).padEnd(-width) : String(cell).padStart(width);
  });
  console.log(padded.join("  ").trimEnd());
}

export function opening(isLive: boolean): void {
  const provider = isLive ? "OpenAI" : "a local server that speaks OpenAI's protocol";
  console.log(`A LangChain chain calls ${provider}, under a policy:`);
  console.log(
    "at most $0.01 a month, $0.005 a call and 60 calls a minute. A call's worst case is held before it is sent.\n",
  );
  row("call", "model", "tokens in", "tokens out", "held", "settled", "month so far");
}

export function receiptLine(call: number, receipt: Receipt, usage: UsageMetadata, month: UsageRow): void {
  const { model, heldUsd, costUsd } = receipt;
  row(call, model, usage.input_tokens, usage.output_tokens, usd(heldUsd), usd(costUsd), usd(month.spentUsd));
}

/** Which rule refused, and what it says. When a limit resets is left out where the output is compared. */
export function refusal({ ruleName, decision }: PolicyViolationError, isLive: boolean): void {
  console.log(`\nThe next call is blocked by ${ruleName}, before it is sent:`);
  for (const [name, value] of Object.entries(decision.metadata)) {
    if (name !== "resetsAt" || isLive) console.log(`  ${name.padEnd(10)} ${String(value)}`);
  }
}

export function standing(rows: Awaited<ReturnType<PolicyEngine["usage"]>>): void {
  console.log("\nWhere the limits stand now:");
  for (const { rule, measure, spentUsd, heldUsd, maxUsd } of rows) {
    const isMoney = measure === "usd";
    const used = isMoney
      ? `${usd(spentUsd)} of ${usd(maxUsd)} spent, ${usd(heldUsd)} held`
      : `${spentUsd} of ${maxUsd} ${measure}`;
    console.log(`  ${rule.padEnd(18)} ${used}`);
  }
}
