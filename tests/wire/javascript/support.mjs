// What the tests share: a client of their own tenant, and a destination that keeps what it gets.

import { createServer } from "node:http";
import { Client } from "@upstash/qstash";

export const client = new Client({
  baseUrl: process.env.QSTASH_URL,
  token: process.env.QSTASH_TOKEN,
});

/** Serves `handle` on a free port of loopback; answers its URL and a way to stop it. */
export async function listen(handle) {
  const server = createServer(handle);
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((closed) => server.close(closed));
    },
  };
}

/** Keeps every request; `next()` waits for one more. `status` is what it answers. */
export async function inbox(status = 200) {
  const got = [];
  const waiting = [];
  const served = await listen(async (request, response) => {
    const body = await text(request);
    const one = { method: request.method, url: request.url, headers: request.headers, body };
    const first = waiting.shift();
    if (first) first(one);
    else got.push(one);
    response.writeHead(status).end(status === 200 ? "" : `${status} answered`);
  });
  return {
    ...served,
    next: () => (got.length ? Promise.resolve(got.shift()) : new Promise((found) => waiting.push(found))),
  };
}

export async function text(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

/** Asks until `probe` answers something that is not empty: the server is another process. */
export async function eventually(probe) {
  for (let turn = 0; turn < 500; turn += 1) {
    const answer = await probe();
    if (Array.isArray(answer) ? answer.length > 0 : answer) return answer;
    await new Promise((later) => setTimeout(later, 20));
  }
  throw new Error("it did not happen in time");
}
