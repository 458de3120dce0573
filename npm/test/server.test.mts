import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setEnvironment, startEmulator } from "qstash-emulator";
import { afterEach, beforeEach, expect, test } from "vitest";

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "qstash-"))));
afterEach(() => rmSync(folder, { recursive: true }));

/** Until nobody answers there; the test's own bound ends a hang. */
async function gone(url: string): Promise<void> {
  while (await fetch(`${url}/emulator/health`).then(() => true, () => false)) {
    await new Promise((later) => setTimeout(later, 20));
  }
}

test("a server starts with the options that it is given, and stops", async () => {
  const now = new Date("2026-06-01T12:00:00Z");
  const emulator = await startEmulator({ now, strict: true, quota: "free", connectTo: { "https://a.test": "http://127.0.0.1:9" } });
  expect(await emulator.tenant.clock()).toMatchObject({ mode: "manual", now: now.getTime() });
  await expect(
    fetch(`${emulator.url}/v2/publish/http://127.0.0.1:9/`, {
      method: "POST",
      headers: { authorization: `Bearer ${emulator.tenant.environment.QSTASH_TOKEN}`, "upstash-dely": "1s" },
    }).then(({ status }) => status),
  ).resolves.toBe(400);
  await emulator.stop();
  await emulator.stop();
  await gone(emulator.url);
});

test("a file keeps what was published", async () => {
  const db = join(folder, "q.db");
  const first = await startEmulator({ db });
  await first.tenant.call("POST", "/v2/publish/http://127.0.0.1:9/");
  await first.stop();
  const second = await startEmulator({ db, clock: "system" });
  expect(await second.tenant.messages()).toHaveLength(1);
  await expect(second.tenant.advance("1h")).rejects.toThrow(/409/);
  await second.stop();
});

test("a server that cannot start says why", async () => {
  await expect(startEmulator({ db: join(folder, "nowhere", "q.db") })).rejects.toThrow(/ended with code 1: .*q\.db/s);
  const before = process.env["QSTASH_EMULATOR_EXECUTABLE"];
  try {
    process.env["QSTASH_EMULATOR_EXECUTABLE"] = join(folder, "missing");
    await expect(startEmulator()).rejects.toThrow(/cannot start .*missing/);
  } finally {
    if (before === undefined) delete process.env["QSTASH_EMULATOR_EXECUTABLE"];
    else process.env["QSTASH_EMULATOR_EXECUTABLE"] = before;
  }
});

test("a forgotten server neither keeps its process nor outlives it", async () => {
  const forget = 'require("qstash-emulator").startEmulator().then(({ url }) => console.log(url))';
  const child = spawn(process.execPath, ["-e", forget], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  for await (const text of child.stdout.setEncoding("utf8")) said += text;
  await gone(said.trim());
});

test("variables that lead a client elsewhere are taken away", () => {
  const before = { ...process.env };
  try {
    process.env["QSTASH_DEV"] = "true";
    process.env["QSTASH_REGION"] = "US_EAST_1";
    const environment = {
      QSTASH_URL: "http://127.0.0.1:1",
      QSTASH_TOKEN: "token",
      QSTASH_CURRENT_SIGNING_KEY: "current",
      QSTASH_NEXT_SIGNING_KEY: "next",
    };
    setEnvironment(environment);
    expect(process.env).toMatchObject(environment);
    expect([process.env["QSTASH_DEV"], process.env["QSTASH_REGION"]]).toEqual([undefined, undefined]);
  } finally {
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
    Object.assign(process.env, before);
  }
});

test("nothing is left in the folder of the app", () => {
  expect(readdirSync(".").filter((name) => name.includes(".db"))).toEqual([]);
});
