import { defineConfig } from "vite";

/**
 * `pnpm build` puts each entry of a package into one file: Node takes half a millisecond for every module it imports, and
 * `@driftlock/core` has about ninety. Readable, with source maps; dependencies stay imports. The types are tsc's.
 */
export default defineConfig({
  build: {
    emptyOutDir: false,
    minify: false,
    sourcemap: true,
    target: "es2022",
    lib: {
      entry: { index: "src/index.ts", "fetch/index": "src/fetch/index.ts", "testing/index": "src/testing/index.ts" },
      formats: ["es"],
    },
    rolldownOptions: { external: /^[^./]/, output: { chunkFileNames: "[name].js" } },
  },
});
