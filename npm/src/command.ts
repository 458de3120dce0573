/** The command line of the emulator: which program is started, and by what it was found. */

import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";

/** A program and the arguments that come before the emulator's own. */
export interface Command {
  file: string;
  args: string[];
}

/** The version of this package. The emulator that it starts is of the same one. */
export const version: string = (
  JSON.parse(readFileSync(join(__dirname, "..", "package.json"), "utf8")) as { version: string }
).version;

/**
 * Find the emulator: the program that `QSTASH_EMULATOR_EXECUTABLE` names, else the package of this platform, else
 * `uvx`, else `pipx`. Throws an Error whose message says what to install.
 */
export function findCommand(env: NodeJS.ProcessEnv = process.env): Command {
  const named = env["QSTASH_EMULATOR_EXECUTABLE"];
  if (named) return { file: named, args: [] };
  const bundled = bundledExecutable();
  if (bundled) return { file: bundled, args: [] };
  const requirement = `qstash-emulator==${version}`;
  const uvx = findOnPath("uvx", env);
  if (uvx) return { file: uvx, args: ["--from", requirement, "qstash-emulator"] };
  const pipx = findOnPath("pipx", env);
  if (pipx) return { file: pipx, args: ["run", "--spec", requirement, "qstash-emulator"] };
  throw new Error(
    `the package ${platformPackage()} is not installed, and neither uvx nor pipx is on PATH: ` +
      "install without --omit=optional, or install uv",
  );
}

/** The environment for the emulator's process: an app's QSTASH_* variables are not settings of the server. */
export function serverEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(
      ([name]) =>
        name !== "QSTASH_EMULATOR_EXECUTABLE" && (!name.startsWith("QSTASH_") || name.startsWith("QSTASH_EMULATOR_")),
    ),
  );
}

function platformPackage(): string {
  return `@qstash-emulator/${process.platform}-${process.arch}`;
}

function bundledExecutable(): string | undefined {
  try {
    const folder = dirname(require.resolve(`${platformPackage()}/package.json`));
    return join(folder, "bin", process.platform === "win32" ? "qstash-emulator.exe" : "qstash-emulator");
  } catch {
    return undefined;
  }
}

function findOnPath(name: string, env: NodeJS.ProcessEnv): string | undefined {
  const file = process.platform === "win32" ? `${name}.exe` : name;
  return (env["PATH"] ?? env["Path"] ?? "")
    .split(delimiter)
    .filter(Boolean)
    .map((folder) => join(folder, file))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
