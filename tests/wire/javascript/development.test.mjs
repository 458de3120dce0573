// QSTASH_DEV=true: the SDK finds a running emulator by its probe, and downloads nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, Receiver, startDevServer } from "@upstash/qstash";
import { inbox } from "./support.mjs";

const said = [];
for (const level of ["log", "warn", "error"]) console[level] = (...words) => said.push(words.join(" "));

test("publish, batch and enqueue reach the emulator without a URL, token or key", async () => {
  await startDevServer();
  const client = new Client();
  const to = await inbox();
  const { messageId } = await client.publishJSON({ url: to.url, body: { dev: true } });
  const { headers, body } = await to.next();
  assert.equal(headers["upstash-message-id"], messageId);
  assert.equal(await new Receiver().verify({ signature: headers["upstash-signature"], body, url: to.url }), true);
  const batch = await client.batchJSON([{ url: to.url, body: 1 }, { url: to.url, body: 2 }]);
  assert.equal(batch.length, 2);
  assert.ok((await client.queue({ queueName: "dev" }).enqueueJSON({ url: to.url, body: 3 })).messageId);
  for (let count = 0; count < 3; count += 1) await to.next();
  assert.equal((await client.messages.get(messageId)).url, to.url);
  await to.close();
  assert.ok(!said.some((words) => /download|unreachable|could not/i.test(words)), said.join("\n"));
});
