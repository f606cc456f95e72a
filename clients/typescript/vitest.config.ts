import { defineConfig } from "vitest/config";

// `unit` needs nothing but Node; `gateway` starts the real server, for which the `serve` extra's
// Python must be on the PATH (or $ATTNVGG_TEST_URL say where one is). `vitest run --project unit`.
export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["tests/*.test.ts"], testTimeout: 60_000 } },
      {
        test: {
          name: "gateway",
          include: ["tests/gateway/*.test.ts"],
          globalSetup: ["tests/gateway/setup.ts"],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
