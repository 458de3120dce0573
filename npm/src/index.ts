/** The emulator for tests in any runner. `qstash-emulator/vitest` and `/jest` start one server for a whole run. */

export { type Environment, setEnvironment } from "./environment.js";
export type {
  Clock,
  Delivery,
  Fault,
  FaultFields,
  FaultKind,
  Message,
  MessageFilter,
  State,
  Turned,
} from "./objects.js";
export { Emulator, type ServerOptions, startEmulator } from "./server.js";
export { currentTenant, Faults, newTenant, Tenant } from "./tenant.js";
