// Run by: qstash-emulator run --clock manual -- node --test examples/harness-node/

import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, beforeEach, test } from "node:test";

import { createApp, remind } from "./reminders.mjs";

const { QSTASH_URL, QSTASH_TOKEN } = process.env;

/** What real QStash does not have: the clock, faults, a reset. */
async function emulator(method, path, body) {
  const answer = await fetch(`${QSTASH_URL}/emulator/${path}`, {
    method,
    headers: { authorization: `Bearer ${QSTASH_TOKEN}` },
    body: body && JSON.stringify(body),
  });
  const fields = await answer.json();
  if (!answer.ok) throw new Error(fields.error);
  return fields;
}

let server, url, said;

beforeEach(async () => {
  await emulator("POST", "reset");
  said = [];
  server = createApp((text) => said.push(text)).listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${server.address().port}`;
});

afterEach(() => server.close());

test("a reminder comes after two hours, and not before", async () => {
  await remind(url, "tea", "2h");
  await emulator("POST", "clock/advance", { by: "1h59m" });
  assert.deepEqual(said, []);
  const { delivered } = await emulator("POST", "clock/advance", { by: "1m" });
  assert.equal(delivered, 1);
  assert.deepEqual(said, ["tea"]);
});

test("a reminder survives an app that is away for a while", async () => {
  await emulator("POST", "faults", { kind: "refuse", destination: url, count: 2 });
  await remind(url, "tea", "1m");
  const { delivered } = await emulator("POST", "clock/run-until-idle");
  assert.equal(delivered, 3);
  assert.deepEqual(said, ["tea"]);
});

test("what QStash did not sign is refused", async () => {
  await emulator("POST", "faults", { kind: "wrong-signature" });
  await remind(url, "tea", "1m");
  await emulator("POST", "clock/run-until-idle");
  assert.deepEqual(said, []);
  assert.equal((await fetch(`${url}/jobs/remind`, { method: "POST", body: "{}" })).status, 401);
});
