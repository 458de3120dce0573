/** A server in a process of its own, which ends together with this one, however this one ends. */

import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { findCommand, serverEnvironment } from "./command.js";
import { parseAnnouncement, readEnvironment } from "./environment.js";
import { Tenant } from "./tenant.js";

export interface ServerOptions {
  /** `"manual"`, the default, is turned by `advance`; `"system"` is the machine's. */
  clock?: "system" | "manual";
  /** Where a manual clock starts; without it at the machine's time. */
  now?: Date;
  /** 0, the default, takes a free one. */
  port?: number;
  /** A SQLite file that keeps the state; without it nothing is kept. */
  db?: string;
  /** Refuse what the real service would ignore. */
  strict?: boolean;
  /** The plan whose limits apply. */
  quota?: "lenient" | "free" | "payg" | "pro";
  /** Deliveries for the first origin go to the second; url, signature and Host stay. */
  connectTo?: Record<string, string>;
}

/** A running server. */
export class Emulator {
  readonly #process: ChildProcess;

  /** @internal */
  constructor(
    process: ChildProcess,
    /** The default tenant. */
    readonly tenant: Tenant,
  ) {
    this.#process = process;
  }

  /** Where it listens. */
  get url(): string {
    return this.tenant.url;
  }

  /** Make a tenant with a token, keys, clock and state of its own. */
  newTenant(name?: string): Promise<Tenant> {
    return this.tenant.newTenant(name);
  }

  /** Stop it, and return when it has ended. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.ref();
    this.#process.stdin?.end();
    await ended;
  }
}

/** Start a server, and return when it answers. Throws an Error with the server's words when it does not start. */
export async function startEmulator(options: ServerOptions = {}): Promise<Emulator> {
  const { file, args } = findCommand();
  const child = spawn(file, [...args, "dev", "--stop-with-stdin", ...flags(options)], {
    env: serverEnvironment(),
    stdio: ["pipe", "pipe", "pipe"],
  });
  const environment = await announced(child, file);
  // A forgotten stop() does not keep the process; its end closes the pipe, and the server stops.
  for (const one of [child, child.stdin, child.stdout, child.stderr]) (one as ChildProcess | Socket | null)?.unref();
  return new Emulator(child, new Tenant(readEnvironment(environment)));
}

function flags(options: ServerOptions): string[] {
  const { clock = "manual", now, port = 0, db, strict, quota, connectTo = {} } = options;
  return [
    ...["--clock", clock, "--port", String(port)],
    ...(db === undefined ? ["--memory"] : ["--db", db]),
    ...(now === undefined ? [] : ["--now", String(now.getTime())]),
    ...(quota === undefined ? [] : ["--quota", quota]),
    ...(strict ? ["--strict"] : []),
    ...Object.entries(connectTo).flatMap(([from, to]) => ["--connect-to", `${from}=${to}`]),
  ];
}

/** What the server says of itself once it is ready. Both its outputs are read to their end, so that neither fills. */
function announced(child: ChildProcess, file: string): Promise<NodeJS.ProcessEnv> {
  return new Promise((resolve, reject) => {
    let said = "";
    let complained = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      if (said.includes("is running")) return;
      said += text;
      if (said.includes("is running")) resolve({ ...parseAnnouncement(said) });
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      complained = (complained + text).slice(-8000);
    });
    child.once("error", (error) => reject(new Error(`cannot start ${file}: ${error.message}`)));
    child.once("close", (code) => reject(new Error(`the emulator ended with code ${code}: ${complained.trim()}`)));
  });
}
