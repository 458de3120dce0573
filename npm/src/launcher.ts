#!/usr/bin/env node
/** `npx qstash-emulator …`: the emulator's own command line, which ends together with this process. */

import { spawn } from "node:child_process";
import { constants } from "node:os";
import { type Command, findCommand } from "./command.js";

const POLL_MS = 250;

function main(args: string[]): void {
  let command: Command;
  try {
    command = findCommand();
  } catch (error) {
    process.stderr.write(`qstash-emulator: ${(error as Error).message}\n`);
    process.exitCode = 1;
    return;
  }
  const env = { ...process.env };
  delete env["QSTASH_EMULATOR_EXECUTABLE"];
  const hasOwnStdin = args[0] === "dev" && !args.includes("--stop-with-stdin");
  const child = spawn(command.file, [...command.args, ...tied(args)], {
    env,
    stdio: [hasOwnStdin ? "pipe" : "inherit", "inherit", "inherit"],
  });
  child.on("error", (error) => {
    process.stderr.write(`qstash-emulator: cannot start ${command.file}: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => process.exit(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  // Ctrl-C reaches the child from the terminal; a second SIGINT would cut its clean stop short.
  process.on("SIGINT", () => child.stdin?.end());
  for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  if (process.env["npm_config_user_agent"]) whenParentEnds(() => child.kill("SIGTERM"));
}

/** The arguments, with those that end the emulator when this process is killed and can no longer say so. */
function tied(args: string[]): string[] {
  const [name, ...rest] = args;
  if (name === "dev") return [name, "--stop-with-stdin", ...rest];
  if (name === "run" && process.platform !== "win32") {
    return [name, "--stop-with-process", String(process.pid), ...rest];
  }
  return args;
}

/** npm hands no signal on when it is asked to stop: it is gone, and the programs that it started stay. */
function whenParentEnds(stop: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    stop();
  }, POLL_MS);
  timer.unref();
}

main(process.argv.slice(2));
