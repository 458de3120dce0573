// The SDK's Receiver and its Next.js wrappers accept what the emulator sends, and nothing else.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Receiver } from "@upstash/qstash";
import { verifySignature, verifySignatureAppRouter } from "@upstash/qstash/nextjs";
import { client, inbox, listen, text } from "./support.mjs";

const keys = {
  currentSigningKey: process.env.QSTASH_CURRENT_SIGNING_KEY,
  nextSigningKey: process.env.QSTASH_NEXT_SIGNING_KEY,
};

test("the Receiver verifies body and URL", async () => {
  const to = await inbox();
  await client.publishJSON({ url: `${to.url}/a?b=%2Fc`, body: { hello: "wörld" } });
  const { headers, body } = await to.next();
  const receiver = new Receiver(keys);
  const signature = headers["upstash-signature"];
  assert.equal(await receiver.verify({ signature, body, url: `${to.url}/a?b=%2Fc` }), true);
  await assert.rejects(receiver.verify({ signature, body, url: to.url }), /invalid subject/);
  await assert.rejects(receiver.verify({ signature, body: `${body} ` }), /body hash does not match/);
  const stranger = new Receiver({ currentSigningKey: "sig_a", nextSigningKey: "sig_b" });
  await assert.rejects(stranger.verify({ signature, body }), /signature verification failed/);
  await to.close();
});

/** Waits for the answer that the handler gave to a delivery. */
function outcome() {
  let settle;
  const settled = new Promise((done) => { settle = done; });
  return { settle, settled };
}

test("a route of Next.js's App Router gets the message", async () => {
  const { settle, settled } = outcome();
  const route = verifySignatureAppRouter(async (request) => Response.json({ seen: await request.json() }), keys);
  const app = await listen(async (request, response) => {
    const answer = await route(new Request(`http://${request.headers.host}${request.url}`, {
      method: request.method, headers: request.headers, body: await text(request),
    }));
    const body = await answer.text();
    response.writeHead(answer.status).end(body);
    settle({ status: answer.status, body });
  });
  await client.publishJSON({ url: `${app.url}/api/job`, body: { id: 7 } });
  assert.deepEqual(await settled, { status: 200, body: JSON.stringify({ seen: { id: 7 } }) });
  const forged = await fetch(`${app.url}/api/job`, { method: "POST", body: "{}" });
  assert.equal(forged.status, 403);
  await app.close();
});

test("a route of Next.js's Pages Router gets the message", async () => {
  const { settle, settled } = outcome();
  const route = verifySignature((request, response) => {
    response.writeHead(204).end();
    settle(request.body);
  }, keys);
  const app = await listen((request, response) => route(request, response));
  await client.publishJSON({ url: `${app.url}/api/job`, body: { id: 8 } });
  assert.deepEqual(await settled, { id: 8 });
  await app.close();
});
