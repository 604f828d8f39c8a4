import { defineConfig } from "vitest/config"

// The condition of our own, so that `xdooria/<room>` is the source; the rest is what Vite has by default.
const conditions = ["xdooria-source", "node", "import", "default"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["**/*.types.test.ts"],
    typecheck: { enabled: true, include: ["test/**/*.types.test.ts"], tsconfig: "./tsconfig.json" },
    setupFiles: ["test/support/setup.ts"],
    testTimeout: 20_000,
    hookTimeout: 60_000
  }
})
