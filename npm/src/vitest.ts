/** `globalSetup: ["qstash-emulator/vitest"]`: one server with a manual clock for the whole run. */

import { setEnvironment } from "./environment.js";
import { startEmulator } from "./server.js";

async function setup(): Promise<() => Promise<void>> {
  const emulator = await startEmulator();
  setEnvironment(emulator.tenant.environment);
  return () => emulator.stop();
}

export = setup;
