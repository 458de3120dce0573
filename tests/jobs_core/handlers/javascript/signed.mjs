// Prints one signed webhook a line: GitHub's examples, then some of Standard Webhooks, as {source, headers, body}.
import { createRequire } from "node:module";
import { sign } from "@octokit/webhooks-methods";
import { Webhook } from "standardwebhooks";

// JSON: how a module imports it differs between versions of Node.
const examples = createRequire(import.meta.url)("@octokit/webhooks-examples");
const [githubSecret, standardSecret, otherSecret] = process.argv.slice(2);
const print = (source, headers, body) => console.log(JSON.stringify({ source, headers, body }));

let delivery = 0;
for (const { name, examples: bodies } of examples) {
  for (const each of bodies) {
    const body = JSON.stringify(each);
    const headers = {
      "content-type": "application/json",
      "x-github-event": name,
      "x-github-delivery": `delivery-${++delivery}`,
      "x-hub-signature-256": await sign(githubSecret, body),
    };
    print("github", headers, body);
  }
}

const bodies = ["plain", "ä € 😀", "line\nand \"quote\"", "\u2028", ""].map((text) => JSON.stringify({ type: "email.sent", text }));
for (const [place, body] of bodies.entries()) {
  const id = `msg_${place}`;
  const now = new Date();
  const timestamp = String(Math.floor(now.getTime() / 1000));
  const genuine = new Webhook(standardSecret).sign(id, now, body);
  const foreign = new Webhook(otherSecret).sign(id, now, body);
  for (const prefix of ["webhook", "svix"]) {
    const headers = (signature) => ({
      [`${prefix}-id`]: id,
      [`${prefix}-timestamp`]: timestamp,
      [`${prefix}-signature`]: signature,
    });
    print("standard", headers(genuine), body);
    print("standard", headers(`v1a,abc ${foreign} ${genuine}`), body);
    print("standard, not genuine", headers(`${foreign} v2,${genuine.slice(3)}`), body);
  }
}
