import { defineConfig } from "vitest/config";

// Both bounds are the ends of hangs; nothing is measured by them.
export default defineConfig({
  test: { globalSetup: ["qstash-emulator/vitest"], include: ["test/**/*.test.mts"], testTimeout: 240_000, hookTimeout: 240_000 },
});
