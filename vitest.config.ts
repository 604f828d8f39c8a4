import { defineConfig } from "vitest/config"

const conditions = ["xdooria-source", "node", "import", "default"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["**/*.types.test.ts"],
    typecheck: { enabled: true, include: ["test/**/*.types.test.ts"], tsconfig: "./tsconfig.json" },
    testTimeout: 20_000,
    hookTimeout: 60_000
  }
})
