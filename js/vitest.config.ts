import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    tags: [{ name: "slow", description: "`make test-fast` leaves it out" }],
    include: ["tests/**/*.test.{ts,tsx}"],
    setupFiles: ["tests/patience.ts", "tests/draws.ts"],
    // Only a fault takes so long, on any machine.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    coverage: { include: ["src/**"], exclude: ["src/protocol/messages.ts", "**/*.d.ts"], reporter: ["text-summary"] },
  },
});
