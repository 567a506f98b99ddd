import { defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";

// Tests run against the sources. DRIFTLOCK_DIST=1 runs the same tests against what `pnpm build` made.
const conditions = process.env.DRIFTLOCK_DIST ? [] : ["@driftlock/source"];
// A path here also writes the results as JSON: .ci/run reads its counts from it.
const report = process.env.DRIFTLOCK_TEST_REPORT;

export default defineConfig({
  resolve: { conditions: [...conditions, ...defaultServerConditions] },
  ssr: { resolve: { conditions: [...conditions, ...defaultServerConditions] } },
  test: {
    include: ["packages/*/test/**/*.test.ts", "test/**/*.test.ts"],
    globalSetup: ["test/setup/redis.ts"],
    reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
    typecheck: {
      enabled: true,
      include: ["packages/*/test/**/*.test-d.ts", "test/**/*.test-d.ts"],
      tsconfig: "tsconfig.vitest.json",
    },
    coverage: { include: ["packages/*/src/**/*.ts"], reporter: ["text", "json-summary"] },
  },
});
