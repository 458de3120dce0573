// Reminders on plain Node: no package is needed, QStash speaks HTTP.

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const { QSTASH_URL, QSTASH_TOKEN, QSTASH_CURRENT_SIGNING_KEY, QSTASH_NEXT_SIGNING_KEY } = process.env;

/** Ask for a reminder after a delay such as "2h". */
export async function remind(appUrl, text, delay) {
  const answer = await fetch(`${QSTASH_URL}/v2/publish/${appUrl}/jobs/remind`, {
    method: "POST",
    headers: { authorization: `Bearer ${QSTASH_TOKEN}`, "content-type": "application/json", "upstash-delay": delay },
    body: JSON.stringify({ text }),
  });
  if (!answer.ok) throw new Error(await answer.text());
  return (await answer.json()).messageId;
}

/** Whether QStash signed this body for this URL, with the current or the next key. */
export function isSigned(signature, url, body) {
  return [QSTASH_CURRENT_SIGNING_KEY, QSTASH_NEXT_SIGNING_KEY].some((key) => verifies(signature ?? "", key, url, body));
}

function verifies(signature, key, url, body) {
  const [header, payload, mac] = signature.split(".");
  if (!mac) return false;
  const expected = createHmac("sha256", key).update(`${header}.${payload}`).digest();
  const given = Buffer.from(mac, "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return false;
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
  const digest = createHash("sha256").update(body).digest("base64url");
  const now = Date.now() / 1000;
  return claims.iss === "Upstash" && claims.sub === url && claims.exp > now && claims.body.replaceAll("=", "") === digest;
}

/** The app: it says what it is reminded of. */
export function createApp(say) {
  return createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const url = `http://${request.headers.host}${request.url}`;
    if (!isSigned(request.headers["upstash-signature"], url, body)) {
      response.writeHead(401).end("not signed by QStash");
      return;
    }
    say(JSON.parse(body).text);
    response.writeHead(204).end();
  });
}
