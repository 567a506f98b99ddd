import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");

describe("every option of a mission has its row in the README", () => {
  const source = read("src/options.ts");
  const fields = ["MissionHooks", "MissionOptions"].flatMap((name) => {
    const [, block] = new RegExp(`export interface ${name}[^{]*\\{([\\s\\S]*?)\\n\\}`).exec(source)!;
    return [...block!.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, field]) => field!);
  });

  it.each(fields)("%s", (option) => {
    expect(read("README.md")).toMatch(new RegExp(`^\\| \`${option}\` +\\|`, "m"));
  });

  it("as many as there are", () => expect(fields.length).toBe(20));
});
