import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { parseSync, Visitor } from "oxc-parser";

/** What the rules look at: one source file, read by a real parser. Paths start at the repository's root. */
export interface SourceFile {
  readonly path: string;
  readonly lines: number;
  /** Imports and re-exports, type-only and dynamic ones too. */
  readonly imports: readonly Import[];
  /** Names of `timeAndChance` that the file uses. */
  readonly impurities: readonly string[];
  readonly hasDefaultExport: boolean;
}

interface Import {
  /** As written. */
  readonly specifier: string;
  /** The file it means, or the bare name of a dependency. */
  readonly target: string;
}

/** Everything that makes a file behave differently from one run to the next. `new Date(0)` is not among them. */
const timeAndChance = new Set([
  "Date.now",
  "Date",
  "new Date()",
  "performance.now",
  "setTimeout",
  "setInterval",
  "setImmediate",
  "AbortSignal.timeout",
  "node:timers",
  "node:timers/promises",
  "Math.random",
]);

export function parse(path: string, text: string): SourceFile {
  const { program, errors } = parseSync(path, text);
  if (errors[0]) throw new Error(`${path} cannot be parsed: ${errors[0].message}`);

  const imports = new Map<string, Import>();
  const impurities = new Set<string>();
  let hasDefaultExport = false;

  const importFrom = (source: Node | null) => {
    if (source?.type !== "Literal") return;
    const specifier = String(source.value);
    if (timeAndChance.has(specifier)) impurities.add(specifier);
    imports.set(specifier, { specifier, target: resolve(path, specifier) });
  };
  const use = ({ start, end }: Node) => {
    const name = text.slice(start, end).replace(/^globalThis\./, "");
    if (timeAndChance.has(name)) impurities.add(name);
  };

  new Visitor({
    ImportDeclaration: (node) => importFrom(node.source),
    ImportExpression: (node) => importFrom(node.source),
    TSImportType: (node) => importFrom(node.source),
    ExportAllDeclaration: (node) => importFrom(node.source),
    ExportNamedDeclaration: (node) => {
      importFrom(node.source);
      hasDefaultExport ||= node.specifiers.some(
        ({ exported }) => text.slice(exported.start, exported.end) === "default",
      );
    },
    ExportDefaultDeclaration: () => {
      hasDefaultExport = true;
    },
    CallExpression: (node) => use(node.callee),
    MemberExpression: use,
    NewExpression: use,
  }).visit(program);

  const lines = text.trimEnd().split("\n").length;
  return { path, lines, imports: [...imports.values()], impurities: [...impurities], hasDefaultExport };
}

/** All TypeScript files below `folder`, which starts at the repository's root. */
export function readSources(root: string, folder: string): SourceFile[] {
  return readdirSync(posix.join(root, folder), { recursive: true, encoding: "utf8" })
    .map((name) => posix.join(folder, name))
    .filter((path) => path.endsWith(".ts") && !/\/(node_modules|dist)\//.test(path))
    .map((path) => parse(path, readFileSync(posix.join(root, path), "utf8")));
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly value?: unknown;
}

/** `./x.js` and `@driftlock/core/testing` become the files they mean; other names stay. */
function resolve(from: string, specifier: string): string {
  if (specifier.startsWith(".")) return posix.join(posix.dirname(from), specifier).replace(/\.js$/, ".ts");
  const [, name, subpath = ""] = /^@driftlock\/(core|missions|langchain)(?:\/(.+))?$/.exec(specifier) ?? [];
  return name ? posix.join("packages", name, "src", subpath, "index.ts") : specifier;
}
