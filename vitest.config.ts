import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"
import { missingEngine } from "./test/support/Engine.ts"

// The condition of our own, so that `xdooria/<room>` is the source; the rest is what Vite has by default.
const conditions = ["xdooria-source", "node", "import", "default"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["**/*.types.test.ts"],
    // Under plain vitest a types test cannot fail: these files are read by the compiler, and not run.
    // What does not compile elsewhere is the business of `npm run check`.
    typecheck: {
      enabled: true,
      include: ["test/**/*.types.test.ts"],
      tsconfig: "./tsconfig.json",
      ignoreSourceErrors: true
    },
    globalSetup: ["test/infra/globalSetup.ts"],
    setupFiles: ["test/support/setup.ts"],
    pool: "forks",
    // Suites on real servers mostly wait: two at a time also on one core.
    maxWorkers: Math.max(2, availableParallelism()),
    // Against what hangs; a slow machine is no failure.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    coverage: {
      provider: "v8",
      // The command line runs in processes of its own.
      autoAttachSubprocess: true,
      include: ["src/**/*.ts"],
      exclude: ["src/gen/**"],
      reporter: ["text-summary", "html"],
      // Where suites are skipped for want of a server, what only they reach is not counted against the rest.
      thresholds: missingEngine === undefined || process.env["CI"] === "true" ? { lines: 90 } : {}
    }
  }
})
