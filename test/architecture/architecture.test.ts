import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { architecture } from "./rules.js";
import { parse, readSources } from "./source.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const house = ["packages", "examples", "test"].flatMap((folder) => readSources(root, folder));

describe("the architecture", () => {
  it("is read from every package", () => {
    const packages = house.flatMap(({ path }) => /^packages\/([^/]+)\/src\/index\.ts$/.exec(path)?.[1] ?? []);
    expect(packages.sort()).toEqual(["core", "langchain", "missions"]);
  });

  describe.each(architecture)("$name", ({ check, broken }) => {
    it("holds here", () => {
      expect(check(house)).toEqual([]);
    });

    it("notices a house that breaks it", () => {
      expect(broken).not.toEqual([]);
      for (const house of broken) {
        const files = Object.entries(house).map(([path, text]) => parse(path, text));
        expect(check(files), Object.keys(house).join()).not.toEqual([]);
      }
    });
  });
});
