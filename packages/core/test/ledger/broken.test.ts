import { describe, expect, it } from "vitest";
import { ledgerCases, runLedgerCase } from "../../src/testing/index.js";
import { brokenLedgers } from "./broken.js";

describe("the ledger suite notices a ledger that", () => {
  it.each(brokenLedgers)("$mistake", async ({ create, noticedBy }) => {
    const failed: string[] = [];
    for (const each of ledgerCases) {
      try {
        await runLedgerCase(each, create);
      } catch {
        failed.push(each.name);
      }
    }
    expect(failed).toContain(noticedBy);
    expect(failed.length).toBeLessThan(ledgerCases.length);
  });

  it("and every case has a name of its own", () => {
    expect(new Set(ledgerCases.map(({ name }) => name)).size).toBe(ledgerCases.length);
  });
});
