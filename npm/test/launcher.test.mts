import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const LAUNCHER = resolve("dist/launcher.js");
const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "qstash-"))));
afterEach(() => rmSync(folder, { recursive: true }));

/** A program on a PATH of its own that prints the arguments it is given. */
function tool(name: string): string {
  const path = join(folder, "bin");
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, name), `#!/bin/sh\necho ${name} "$@"\n`);
  chmodSync(join(path, name), 0o755);
  return path;
}

function launch(env: NodeJS.ProcessEnv, ...args: string[]) {
  return spawnSync(process.execPath, [LAUNCHER, ...args], { env, encoding: "utf8" });
}

/** The port of the first URL that is printed. All that is printed is read: a pipe that closes early is an error. */
function portOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      const found = /http:\/\/[\w.]+:(\d+)\D/.exec(said);
      if (found) resolve(Number(found[1]));
    });
    child.once("close", () => reject(new Error(`no URL in ${said}`)));
  });
}

async function gone(port: number): Promise<void> {
  while (await fetch(`http://127.0.0.1:${port}/emulator/health`).then(() => true, () => false)) {
    await new Promise((later) => setTimeout(later, 20));
  }
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once("exit", resolve));
}

test("uvx is asked for the emulator of this version, pipx where there is none", () => {
  const PATH = tool("pipx");
  expect(launch({ PATH }, "messages").stdout).toBe(
    `pipx run --spec qstash-emulator==${version} qstash-emulator messages\n`,
  );
  tool("uvx");
  expect(launch({ PATH }, "messages").stdout).toBe(`uvx --from qstash-emulator==${version} qstash-emulator messages\n`);
});

test("a program that is named goes before all others", () => {
  const PATH = tool("uvx");
  const QSTASH_EMULATOR_EXECUTABLE = join(tool("mine"), "mine");
  expect(launch({ PATH, QSTASH_EMULATOR_EXECUTABLE }, "dlq", "--json").stdout).toBe("mine dlq --json\n");
});

test("where there is none of them, one line says what to do", () => {
  const none = launch({ PATH: folder }, "dev");
  expect([none.status, none.stdout]).toEqual([1, ""]);
  expect(none.stderr).toMatch(/^qstash-emulator: the package @qstash-emulator\/\S+ is not installed.*install uv\n$/);
  const missing = launch({ QSTASH_EMULATOR_EXECUTABLE: join(folder, "no") }, "dev");
  expect(missing.status).toBe(1);
  expect(missing.stderr).toMatch(/^qstash-emulator: cannot start .*no: /);
});

test("dev serves, and SIGTERM to the launcher stops the server", async () => {
  const child = spawn(process.execPath, [LAUNCHER, "dev", "--memory", "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
  const port = await portOf(child);
  expect((await fetch(`http://127.0.0.1:${port}/emulator/`)).status).toBe(200);
  child.kill("SIGTERM");
  expect(await ended(child)).toBe(0);
  await gone(port);
});

test.each(["SIGKILL", "SIGINT"] as const)("no server is left behind when the launcher gets %s", async (signal) => {
  const child = spawn(process.execPath, [LAUNCHER, "dev", "--memory", "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
  const port = await portOf(child);
  child.kill(signal);
  await gone(port);
});

test("run hands the command its variables and its exit code on", () => {
  const program = "process.exit(process.env.QSTASH_URL && process.env.QSTASH_TOKEN ? 7 : 1)";
  const done = spawnSync(process.execPath, [LAUNCHER, "run", "--", process.execPath, "-e", program]);
  expect(done.status).toBe(7);
});

test("a killed launcher takes run, its command and its server along", async () => {
  const program = "console.log(process.env.QSTASH_URL); setInterval(() => {}, 1000)";
  const child = spawn(process.execPath, [LAUNCHER, "run", "--", process.execPath, "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const port = await portOf(child);
  child.kill("SIGKILL");
  await gone(port);
});

test("SIGTERM to npx, which hands no signal on, ends the server", async () => {
  mkdirSync(join(folder, "node_modules", ".bin"), { recursive: true });
  writeFileSync(join(folder, "package.json"), "{}");
  symlinkSync(LAUNCHER, join(folder, "node_modules", ".bin", "qstash-emulator"));
  chmodSync(LAUNCHER, 0o755);
  const child = spawn("npx", ["--no-install", "qstash-emulator", "dev", "--memory", "--port", "0"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const port = await portOf(child);
  child.kill("SIGTERM");
  await gone(port);
});
