import { posix } from "node:path";
import type { SourceFile } from "./source.js";

/** One rule of the house. */
export interface ArchitectureRule {
  readonly name: string;
  /** One line for each violation. */
  readonly check: (files: readonly SourceFile[]) => string[];
  /** Small houses that each break the rule: proof that it can fail. */
  readonly broken: readonly Readonly<Record<string, string>>[];
}

const core = "packages/core/src";
const missions = "packages/missions/src";
const langchain = "packages/langchain/src";
const sources = /^packages\/[^/]+\/src\//;
const outsiders = /^(examples|test)\//;

/** The arrows that must not exist: room ✗ rooms and dependencies. */
const forbiddenArrows: Readonly<Record<string, readonly string[]>> = {
  [`${core}/pricing`]: [`${core}/policy`, `${core}/ledger`, `${core}/events`],
  [`${core}/policy`]: [`${core}/pricing`, `${core}/ledger`, `${core}/events`, "keyv", "@keyv"],
  [`${core}/ledger`]: [`${core}/pricing`, `${core}/policy`, `${core}/events`],
  [`${core}/events`]: [`${core}/pricing`, `${core}/policy`, `${core}/ledger`],
  [`${core}/fetch`]: [`${core}/policy/rules`, `${core}/ledger`, `${core}/events`, `${core}/testing`, "keyv", "@keyv"],
  [core]: [missions, langchain],
  [missions]: [langchain],
  [langchain]: [missions],
};

/** The only files that may ask what time it is, wait, or roll dice. */
const impureFiles = [`${core}/clock.ts`];

export const architecture: readonly ArchitectureRule[] = [
  {
    name: "imports run in no circle",
    check: (files) => cycles(files.filter(({ path }) => sources.test(path))),
    broken: [
      { [`${core}/a.ts`]: `import "./b.js";`, [`${core}/b.ts`]: `export type { A } from "./a.js";` },
      {
        [`${core}/a.ts`]: `type B = import("./b.js").B;`,
        [`${core}/b.ts`]: `await import("@driftlock/core");`,
        [`${core}/index.ts`]: `export * from "./a.js";`,
      },
    ],
  },
  {
    name: "domain imports nothing outside domain",
    check: (files) => arrows(files, `${core}/domain`, (target) => !within(`${core}/domain`, target)),
    broken: ["../errors/usage-error.js", "node:crypto", "keyv"].map((name) => ({
      [`${core}/domain/money.ts`]: `import type { X } from "${name}";`,
    })),
  },
  ...Object.entries(forbiddenArrows).map(([room, others]) => ({
    name: `${room} never imports ${others.join(", ")}`,
    check: (files: readonly SourceFile[]) =>
      arrows(files, room, (target) => others.some((other) => within(other, target))),
    broken: others.map((other) => ({
      [`${room}/x.ts`]: `import type { X } from "${other.includes("/") ? posix.relative(room, other) : other}/y.js";`,
    })),
  })),
  {
    // An adapter that ships with core: it uses the engine as any other would, and the engine does not know of it.
    name: `nothing imports ${core}/fetch`,
    check: (files) =>
      files
        .filter(({ path }) => sources.test(path) && !within(`${core}/fetch`, path))
        .flatMap(({ path, imports }) =>
          imports
            .filter(({ target }) => within(`${core}/fetch`, target))
            .map(({ specifier }) => `${path} imports ${specifier}`),
        ),
    broken: [
      { [`${core}/index.ts`]: `export * from "./fetch/index.js";` },
      { [`${langchain}/index.ts`]: `import { governFetch } from "@driftlock/core/fetch";` },
    ],
  },
  {
    name: "examples and tests import packages by name",
    check: (files) =>
      arrows(files, outsiders, (target, specifier) => specifier.startsWith(".") && target.startsWith("packages/")),
    broken: ["examples/src", "test/faults"].map((folder) => ({
      [`${folder}/x.ts`]: `import { PolicyEngine } from "../../packages/core/src/index.js";`,
    })),
  },
  {
    name: `time and chance come from ${impureFiles.join(", ")}`,
    check: (files) =>
      files
        .filter(({ path }) => sources.test(path) && !impureFiles.includes(path))
        .flatMap(({ path, impurities }) => impurities.map((name) => `${path} uses ${name}`)),
    broken: [
      "Date.now()",
      "new Date()",
      "const now = { default: Date.now }",
      "Math.random()",
      "setTimeout(() => {}, 1)",
      "globalThis.setInterval(() => {}, 1)",
      'import { setTimeout as sleep } from "node:timers/promises";',
    ].map((text) => ({ [`${core}/engine.ts`]: text })),
  },
  {
    name: "no default exports",
    check: (files) => files.filter((file) => file.hasDefaultExport).map(({ path }) => path),
    broken: ["export default 1;", "const a = 1; export { a as default };"].map((text) => ({ [`${core}/a.ts`]: text })),
  },
  {
    name: "no source file is over 400 lines",
    check: (files) => files.filter(({ path, lines }) => sources.test(path) && lines > 400).map(size),
    broken: [{ [`${core}/engine.ts`]: "void 0;\n".repeat(401) }],
  },
  {
    name: "every example is under 60 lines",
    check: (files) => files.filter(({ path, lines }) => within("examples/src", path) && lines >= 60).map(size),
    broken: [{ "examples/src/demo.ts": "void 0;\n".repeat(60) }],
  },
];

/** Imports of files in `room` whose target is `bad`. */
function arrows(
  files: readonly SourceFile[],
  room: string | RegExp,
  bad: (target: string, specifier: string) => boolean,
): string[] {
  return files
    .filter(({ path }) => (typeof room === "string" ? within(room, path) : room.test(path)))
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ target, specifier }) => bad(target, specifier))
        .map(({ specifier }) => `${path} imports ${specifier}`),
    );
}

/** Each circle once, from its first file in depth-first order. */
function cycles(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const finished = new Set<string>();
  const found: string[] = [];
  const visit = (path: string, trail: readonly string[]) => {
    if (trail.includes(path)) found.push([...trail.slice(trail.indexOf(path)), path].join(" → "));
    if (trail.includes(path) || finished.has(path)) return;
    for (const { target } of byPath.get(path)?.imports ?? []) visit(target, [...trail, path]);
    finished.add(path);
  };
  for (const { path } of files) visit(path, []);
  return found;
}

const within = (room: string, path: string) => path === room || path.startsWith(`${room}/`);
const size = ({ path, lines }: SourceFile) => `${path} has ${lines} lines`;
