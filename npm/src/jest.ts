/** `globalSetup: "qstash-emulator/jest"`: one server with a manual clock for the whole run, which ends with Jest. */

import { setEnvironment } from "./environment.js";
import { type Emulator, startEmulator } from "./server.js";

let emulator: Promise<Emulator> | undefined;

/** Watch mode calls this before each run; the server stays. */
async function setup(): Promise<void> {
  emulator ??= startEmulator();
  setEnvironment((await emulator).tenant.environment);
}

export = setup;
