// A service in another language that shares queues with jobs_core.
//
//   node jobs.mjs publish WORKER_URL     publish a job to a Python worker; print its id
//   node jobs.mjs receive                print a URL; verify the next job that a Python dispatcher publishes to it

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { Client, Receiver } from "@upstash/qstash";

/** A job on the wire. The types are those of a TypeScript service, in JSDoc.
 * @param {string} type @param {object} payload @param {{userId?: number | string, organizationId?: number | string}} owner */
function envelope(type, payload, owner = {}) {
  return { jobId: randomUUID(), type, payload, metadata: { ...owner, createdAt: new Date().toISOString() } };
}

async function publish(url) {
  const client = new Client({ baseUrl: process.env.QSTASH_URL, token: process.env.QSTASH_TOKEN });
  const body = envelope("greet", { name: "Ada" }, { userId: 7, organizationId: "acme" });
  await client.publishJSON({ url, body, deduplicationId: body.jobId, retries: 3 });
  console.log(body.jobId);
}

async function receive() {
  const receiver = new Receiver({
    currentSigningKey: process.env.QSTASH_CURRENT_SIGNING_KEY,
    nextSigningKey: process.env.QSTASH_NEXT_SIGNING_KEY,
  });
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const url = `${origin()}${request.url}`;
    const isGenuine = await receiver.verify({ signature: request.headers["upstash-signature"], body, url });
    console.log(JSON.stringify({ isGenuine, job: JSON.parse(body) }));
    response.end(() => server.close());
  });
  const origin = () => `http://127.0.0.1:${server.address().port}`;
  server.listen(0, "127.0.0.1", () => console.log(origin()));
}

const [command, argument] = process.argv.slice(2);
await { publish, receive }[command](argument);
