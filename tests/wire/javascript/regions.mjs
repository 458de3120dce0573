// What the vendor's Receiver and Client make of an environment with regions. Reads cases from stdin, answers on stdout.
//
// A case: {environment, delivery: {signature, body, url, upstashRegion}}; an answer: {accepts, baseUrl}.

import { Client, Receiver } from "@upstash/qstash";
import { text } from "node:stream/consumers";

console.warn = () => {};
const original = { ...process.env };

async function answer({ environment, delivery }) {
  process.env = { ...original, ...environment };
  const accepts = await new Receiver().verify(delivery).then(() => true, () => false);
  return { accepts, baseUrl: new Client({ enableTelemetry: false }).http.baseUrl };
}

const answers = [];
for (const one of JSON.parse(await text(process.stdin))) answers.push(await answer(one));
console.log(JSON.stringify(answers));
