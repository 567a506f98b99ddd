import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const read = (path: string) => readFileSync(root + path, "utf8");
const filesIn = (path: string, ending: string) => readdirSync(root + path).filter((name) => name.endsWith(ending));

const examples = filesIn("examples/src", ".ts").map((name) => ({ name, lines: linesOf(read(`examples/src/${name}`)) }));
const readmes = [
  "README.md",
  "packages/core/MANY-PROCESSES.md",
  ...readdirSync(`${root}packages`).map((name) => `packages/${name}/README.md`),
];

/** Code lines without indentation, blank lines and comments of their own: what has to agree. */
function linesOf(code: string): string[] {
  return code
    .split("\n")
    .map((line) => line.trim().replace(/\s+\/\/ .*$/, ""))
    .filter((line) => line !== "" && !line.startsWith("//"));
}

/** Whether a block's lines stand in an example in this order; it may leave lines out. */
function standsIn(block: readonly string[], lines: readonly string[]): boolean {
  let from = 0;
  for (const line of block) {
    const at = lines.indexOf(line, from);
    if (at < 0) return false;
    from = at + 1;
  }
  return true;
}

describe("the code in the READMEs is code that runs", () => {
  for (const readme of readmes) {
    const blocks = [...read(readme).matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => linesOf(code!));
    it.each(blocks.map((block, i) => ({ block, title: `${readme}, block ${i + 1}: ${block[0]}` })))(
      "$title",
      ({ block }) => {
        expect(examples.filter(({ lines }) => standsIn(block, lines)).map(({ name }) => name)).not.toEqual([]);
      },
    );
  }
});

describe("every rule has its row", () => {
  const rules = filesIn("packages/core/src/policy/rules", ".ts").map((file) => {
    const [, name] = /export class (\w+Rule) /.exec(read(`packages/core/src/policy/rules/${file}`))!;
    return name!;
  });
  it.each(rules)("%s", (rule) => {
    expect(read("packages/core/README.md")).toMatch(new RegExp(`^\\| \`${rule}\` +\\|`, "m"));
  });
});

describe("every option has its row", () => {
  const [, block] = /export interface PolicyEngineOptions \{([\s\S]*?)\n\}/.exec(read("packages/core/src/options.ts"))!;
  const options = [...block!.matchAll(/^ {2}(\w+)\??:/gm)].map(([, name]) => name!);
  it.each(options)("%s", (option) => {
    expect(read("packages/core/README.md")).toMatch(new RegExp(`^\\| (\`\\w+\`, )*\`${option}\``, "m"));
  });
});
